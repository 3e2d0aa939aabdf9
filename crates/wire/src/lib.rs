//! JSON of the runner and agent APIs: requests, answers, log lines, error bodies and typed ids.
//!
//! Everything here is data. Reading is as forgiving as Go's `encoding/json`, which is what the other end of these
//! protocols uses: unknown fields are skipped, a missing field or `null` is the zero value, and field names match
//! whatever their case. Writing leaves out zero values, as Go's `omitempty` does.

pub mod agent;
pub mod described;
pub mod loose;
mod message;
mod millis;
pub mod reach;
pub mod run;
pub mod runner;
mod unreadable;

pub use unreadable::Unreadable;
