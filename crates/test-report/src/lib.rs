//! Reads test reports, adds them up, shows them, and splits tests by what they say.
//!
//! ```text
//!  bytes ─► source (UTF-8, under limits) ─► xml (elements) ─┬─► junit ─┬─► collector ─► Tests ─► show: terminal, Markdown
//!                                                           └─► trx ───┘      └─► each case, for whoever keeps them
//!                                                                                      └─► split: shares by time
//! ```
//! A report is read as a stream: what it holds costs memory only as far as it is kept, and everything in it has a limit. Nothing in a
//! report is trusted. Secrets are masked before a text is cut, and what is shown is one line where it has to be one.

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
