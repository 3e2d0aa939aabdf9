#![doc = include_str!("../README.md")]

mod agent;
mod driver;
mod error;
mod instances;
mod kill;
mod launch;
mod name;
mod proc;
mod record;
mod root;
mod section;
mod unix;

#[cfg(test)]
mod tests;

pub use agent::{Settings, built_agent};
pub use driver::ProcessDriver;
pub use record::SERVER_NAME;
pub use section::{NAME, ProcessSection};
