//! The runner's HTTP API over a real engine, a real database and real agents; only the machines are not there.

mod defects;
mod description;
mod guard;
mod incumbent;
mod own;
mod rig;
mod steps;
