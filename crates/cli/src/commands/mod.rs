//! One module per command.

pub mod cache;
pub mod doctor;
pub mod events;
pub mod image;
pub mod instance;
pub mod pool;
pub mod run;
pub mod runner;
pub mod shell;
pub mod stage;
pub mod tests;
pub mod validate;
