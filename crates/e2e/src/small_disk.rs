//! A disk that a test may fill.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory. It is unmounted on drop, even after a panic.
#[derive(Debug)]
pub struct SmallDisk {
    _parent: tempfile::TempDir,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one. Returns none, and prints so, where this user may not mount. As root that is a failure; otherwise
    /// nothing would be checked where it could be.
    ///
    /// # Panics
    /// When root may not mount in CI, or there is no room for temporary files.
    #[must_use]
    pub fn mount(mib: u32) -> Option<Self> {
        let parent = tempfile::tempdir().expect("a folder");
        // The canonical path, because processes that use the disk are found by it.
        let path = parent.path().canonicalize().expect("a path").join("disk");
        std::fs::create_dir(&path).expect("a folder");
        let size = format!("size={mib}m");
        let said = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "kiln-test"]).arg(&path).output();
        let failure = match said {
            Ok(said) if said.status.success() => return Some(Self { _parent: parent, path }),
            Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        assert!(!(is_root && std::env::var_os("CI").is_some()), "root may not mount: {failure}");
        eprintln!("NOT CHECKED: a full disk, because this user may not mount one: {failure}");
        None
    }

    /// Returns its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all remaining room, to the last byte.
    ///
    /// # Panics
    /// When the file that takes it cannot be opened.
    pub fn fill(&self) {
        let mut file = self.filler();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Frees the room that [`SmallDisk::fill`] took.
    ///
    /// # Panics
    /// When that fails.
    pub fn free(&self) {
        self.filler().set_len(0).expect("an empty file");
    }

    /// Returns the free room, in bytes.
    ///
    /// # Panics
    /// When `df` fails.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let said = Command::new("df").args(["--output=avail", "--block-size=1"]).arg(&self.path).output();
        let said = String::from_utf8(said.expect("df").stdout).expect("text");
        said.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number")
    }

    fn filler(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.path.join("filler")).expect("a file")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Files on it may still be open for a moment. It goes away with the last open file.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

#[cfg(test)]
mod tests {
    use super::SmallDisk;

    #[test]
    fn it_is_full_to_the_last_byte_and_gone_in_the_end() {
        let Some(disk) = SmallDisk::mount(1) else { return };
        let (path, file) = (disk.path().to_owned(), disk.path().join("a"));
        std::fs::write(&file, "").expect("an empty file");
        assert!(disk.free_bytes() > 0);
        disk.fill();
        assert_eq!(disk.free_bytes(), 0);
        std::fs::write(&file, "b").expect_err("there is no room for a byte");
        disk.free();
        std::fs::write(&file, "b").expect("there is room");
        drop(disk);
        assert!(!path.exists());
    }
}
