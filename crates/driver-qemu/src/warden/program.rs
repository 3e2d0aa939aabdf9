//! The program that a warden runs in.

use std::ffi::OsString;
use std::path::PathBuf;

/// The word on the command line after which the program calls [`crate::warden`].
pub const WARDEN: &str = "vm-warden";

/// The program that a warden runs in, and its first arguments. Its last one is the number of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WardenProgram {
    /// Where it lies.
    pub program: PathBuf,
    /// What it is given before the number.
    pub args: Vec<OsString>,
}

impl Default for WardenProgram {
    /// This very program, also when its file has been replaced meanwhile.
    fn default() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec![WARDEN.into()] }
    }
}
