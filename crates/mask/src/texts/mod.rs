//! The texts in the messages of the protocols.

mod agent;
mod archive;
mod run;
