//! What tests of the whole need and no release holds: the simulated world.

pub mod sim;
#[cfg(feature = "real")]
pub mod chaos;
#[cfg(feature = "real")]
pub mod process;
