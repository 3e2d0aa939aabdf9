//! What tests of the whole need and no release holds: the simulated world.

#[cfg(feature = "real")]
pub mod chaos;
#[cfg(feature = "real")]
pub mod processes;
pub mod sim;
