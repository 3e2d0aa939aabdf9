//! The operator's commands, against a runner with recorded answers.

mod errors;
mod lists;
mod single;
mod stub;
