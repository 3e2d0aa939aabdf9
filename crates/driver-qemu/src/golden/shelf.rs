//! The saved golden VMs on disk: which there are, and which may go. They are large, so their number is bounded.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::host::lock;
use crate::paths::Layout;
use crate::vm::machine::Shape;

/// How many saved golden VMs are kept; the least recently used go first.
const KEPT: usize = 6;

/// What is written beside a saved golden VM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) image: String,
    pub(crate) image_digest: String,
    pub(crate) shape: Shape,
    pub(crate) server_name: String,
    /// Fingerprint of the authority whose clients it serves.
    pub(crate) ca: String,
    pub(crate) boot_s: f64,
}

impl Record {
    /// None where no whole golden VM lies.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join("golden.json")).ok()?).ok()
    }
}

/// Notes that a golden VM is used now, on its lock file.
pub(crate) fn touch(lock: &File) {
    // Only the order of removal depends on it.
    let _ = lock.set_modified(SystemTime::now());
}

/// Removes golden VMs that `keep` replaces (same image, shape and CA; another agent or QEMU), and the least recently used
/// beyond [`KEPT`]. Those in use stay.
pub(crate) fn prune(layout: &Layout, keep: &str, image: &str, shape: Shape, ca: &str) {
    let mut others = Vec::new();
    for (key, dir, record) in all(layout).into_iter().filter(|(key, ..)| key != keep) {
        if record.image == image && record.shape == shape && record.ca == ca {
            remove_unused(layout, &key, &dir);
        } else {
            let used = lock_path(layout, &key).metadata().and_then(|meta| meta.modified());
            others.push((used.unwrap_or(SystemTime::UNIX_EPOCH), key, dir));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(KEPT);
    for (_, key, dir) in others.into_iter().take(surplus) {
        remove_unused(layout, &key, &dir);
    }
}

/// Removes the golden VMs of an image, but those in use.
pub(crate) fn forget_image(layout: &Layout, digest: &str) {
    for (key, dir, _) in all(layout).into_iter().filter(|(.., record)| record.image_digest == digest) {
        remove_unused(layout, &key, &dir);
    }
}

pub(crate) fn lock_path(layout: &Layout, key: &str) -> PathBuf {
    layout.goldens().join(format!("{key}.lock"))
}

fn all(layout: &Layout) -> Vec<(String, PathBuf, Record)> {
    let entries = std::fs::read_dir(layout.goldens()).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let dir = entry.path();
            Some((entry.file_name().to_str()?.to_owned(), dir.clone(), Record::read(&dir)?))
        })
        .collect()
}

fn remove_unused(layout: &Layout, key: &str, dir: &Path) {
    // The lock file stays: another process may be waiting on it, and a second file of that name would guard nothing.
    if let Some(_held) = lock::try_exclusive(&lock_path(layout, key))
        && let Err(error) = lock::remove_tree(dir)
    {
        tracing::warn!(%error, "an unused golden VM stays");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Shelf {
        _dir: tempfile::TempDir,
        layout: Layout,
    }

    const SHAPE: Shape = Shape { cpus: 1, memory_mib: 512, disk_gib: 8 };

    impl Shelf {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let layout = Layout { cache: dir.path().join("c"), state: dir.path().join("s") };
            Self { _dir: dir, layout }
        }

        fn put(&self, key: &str, image: &str, ca: &str, age_s: u64) -> File {
            let dir = self.layout.goldens().join(key);
            std::fs::create_dir_all(&dir).expect("create");
            let record = Record {
                image: image.to_owned(),
                image_digest: image.to_owned(),
                shape: SHAPE,
                server_name: key.to_owned(),
                ca: ca.to_owned(),
                boot_s: 1.0,
            };
            std::fs::write(dir.join("golden.json"), serde_json::to_vec(&record).expect("json")).expect("write");
            let lock = File::create(lock_path(&self.layout, key)).expect("lock");
            lock.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("age");
            lock
        }

        fn check(&self, expect: &str) {
            let mut keys: Vec<_> = all(&self.layout).into_iter().map(|(key, ..)| key).collect();
            keys.sort();
            assert_eq!(keys.join(" "), expect);
        }
    }

    #[test]
    fn a_new_golden_vm_replaces_its_like_but_not_those_in_use() {
        let shelf = Shelf::new();
        shelf.put("old", "debian", "ca", 5);
        shelf.put("other-ca", "debian", "ca2", 5);
        shelf.put("other-image", "ubuntu", "ca", 5);
        let used = shelf.put("used", "debian", "ca", 5);
        used.lock_shared().expect("lock");
        shelf.put("new", "debian", "ca", 0);
        prune(&shelf.layout, "new", "debian", SHAPE, "ca");
        shelf.check("new other-ca other-image used");
        forget_image(&shelf.layout, "ubuntu");
        shelf.check("new other-ca used");
    }

    #[test]
    fn the_least_recently_used_go_when_there_are_too_many() {
        let shelf = Shelf::new();
        for n in 0..KEPT + 2 {
            shelf.put(&format!("g{n}"), &format!("image{n}"), "ca", 100 - n as u64);
        }
        let last = format!("g{}", KEPT + 1);
        prune(&shelf.layout, &last, "x", SHAPE, "ca");
        shelf.check("g2 g3 g4 g5 g6 g7");
    }
}
