//! Hides secrets in all output: streams, texts and messages.
//!
//! ```text
//!  Secrets (the values) ──forms──► Automaton ──┬──► Masker: a stream, chunk by chunk ──► Settled bytes
//!                                              └──► mask(): a message, whole ──────────► Masked<T>
//! ```
//! [`Settled`] and [`Masked`] are made here alone, and code that sends something out accepts nothing else. So sending
//! unmasked output does not compile.
//!
//! The union of all matches is hidden. Where secrets overlap or contain each other, nothing of them remains visible,
//! and spans that overlap or touch become one mask.

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

/// The replacement for a secret. Its length says nothing about the secret's.
pub const MASK: &str = "**************";
