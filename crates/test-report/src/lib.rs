//! Reads test reports, adds them up, shows them, and splits tests by their times.
//!
//! ```text
//!  bytes ─► source (UTF-8, under limits) ─► xml (elements) ─┬─► junit ─┬─► collector ─► Tests ─► show: terminal, Markdown
//!                                                           └─► trx ───┘      └─► each case, for whoever keeps them
//!                                                                                      └─► split: shares by time
//! ```
//! A report is read as a stream: only what is kept costs memory, and everything in it has a limit. Nothing in a report
//! is trusted. Secrets are masked before a text is cut, and texts are shown in one line where that matters.

mod case;
mod collector;
mod encoding;
mod entity;
mod fault;
mod junit;
mod read;
pub mod show;
mod source;
pub mod split;
pub mod tally;
mod trx;
mod words;
mod xml;

pub use collector::{Collector, Failed};
pub use source::REPORT_MAX_BYTES;
