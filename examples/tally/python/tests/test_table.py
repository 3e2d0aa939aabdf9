import subprocess
import sys
import unittest

from tally_report.counts import Counts
from tally_report.table import render


class RenderTest(unittest.TestCase):
    def test_aligns_words(self):
        table = render(Counts(4, 2, (("river", 3), ("a", 1))))
        self.assertEqual(
            table.splitlines(),
            [
                "| word  | count | share |",
                "|-------|------:|------:|",
                "| river |     3 | 75.0% |",
                "| a     |     1 | 25.0% |",
                "",
                "4 words, 2 different",
            ],
        )

    def test_of_no_words_has_only_totals(self):
        self.assertEqual(render(Counts(0, 0, ())).splitlines()[-1], "0 words, 0 different")


class ProgramTest(unittest.TestCase):
    def run_program(self, text):
        command = [sys.executable, "-m", "tally_report"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def test_prints_the_table(self):
        done = self.run_program('{"total": 1, "distinct": 1, "top": [{"word": "a", "count": 1}]}')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 words, 1 different", done.stdout)

    def test_says_what_is_wrong(self):
        done = self.run_program("{}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not tally's output", done.stderr)
