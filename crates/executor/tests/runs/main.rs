//! Whole runs, on agents in this process instead of VMs: a pipeline in, a transcript of events out.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod builds;
mod caches;
mod cancel;
mod conditions;
mod drone;
mod failures;
mod kinds;
mod loops;
mod loss;
mod order;
mod output;
mod reports;
mod rig;
mod secrets;
mod sources;
mod values;
mod waits;
