//! One module per command.

pub mod doctor;
pub mod image;
pub mod run;
pub mod shell;
pub mod validate;
