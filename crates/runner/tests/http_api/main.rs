//! The runner's HTTP API over a real engine, a real database and real agents. Only the machines are missing.

mod agent_restart;
mod callers;
mod defects;
mod description;
mod guard;
mod incumbent;
mod overtaken;
mod own;
mod ready;
mod rig;
mod steps;
mod unwritten;
