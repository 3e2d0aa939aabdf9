//! The simulated world, for tests of the whole system. No release contains it.

#[cfg(feature = "real")]
pub mod chaos;
#[cfg(feature = "real")]
pub mod processes;
pub mod sim;
