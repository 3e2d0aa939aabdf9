//! What of the messages on the wire is text.

mod agent;
mod run;
