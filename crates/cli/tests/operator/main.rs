//! The operator's commands, against a runner that answers from a recording.

mod errors;
mod lists;
mod single;
mod stub;
