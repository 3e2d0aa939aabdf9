//! End-to-end tests of the built program `kiln` on real VMs: the examples in `tests/examples`, runners in
//! `tests/runner`. It also has helpers for tests of all crates: the turn of tests on VMs, a small disk that can be
//! filled, and listeners that count who comes.
//!
//! `make test` builds the program and the image first. To run the tests alone: `make image`, then `cargo test -p
//! kiln-e2e`.

mod doors;
mod small_disk;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use doors::{Door, knock};
pub use small_disk::SmallDisk;

/// The right to boot VMs, which take all processors under emulation. It ends on drop, or with the process.
#[derive(Debug)]
pub struct Turn {
    _locked: File,
}

impl Turn {
    /// Waits until no other test of this user, in any process, has the right.
    ///
    /// # Panics
    /// When the user's cache folder cannot be written.
    #[must_use]
    pub fn take() -> Self {
        Self::take_in(&cache())
    }

    fn take_in(folder: &Path) -> Self {
        let file = lock_file(folder);
        file.lock().expect("a lock");
        Self { _locked: file }
    }
}

fn lock_file(folder: &Path) -> File {
    std::fs::create_dir_all(folder).expect("a folder");
    File::create(folder.join("vm-tests.lock")).expect("a lock file")
}

/// Returns this user's folder of images and golden VMs.
///
/// # Panics
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
#[must_use]
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("kiln")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let turn = Turn::take_in(folder.path());
        let other = lock_file(folder.path());
        assert!(matches!(other.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        drop(turn);
        other.try_lock().expect("the turn is free");
    }
}
