"""Turns the counts that the program tally prints into a table for people."""

__version__ = "1.2.0"
