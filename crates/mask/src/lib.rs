//! Hides secrets in whatever leaves: streams, texts and messages.
//!
//! ```text
//!  Secrets (the values) ──forms──► Automaton ──┬──► Masker: a stream, chunk by chunk ──► Settled bytes
//!                                              └──► mask(): a message, whole ──────────► Masked<T>
//! ```
//! [`Settled`] and [`Masked`] are made here alone, and whoever lets something out takes nothing else. So what was not masked is
//! not let out: it does not compile.
//!
//! What is hidden is the union of everything that matches. Of secrets that overlap, or of which one is part of another, nothing
//! remains visible, and spans that overlap or touch become one mask.

mod automaton;
mod forms;
mod masked;
mod secrets;
mod skip;
mod stream;
mod texts;

pub use masked::{Masked, Texts};
pub use secrets::Secrets;
pub use stream::{Masker, Settled};

/// What stands in the place of a secret. Its length says nothing about the secret's.
pub const MASK: &str = "**************";
