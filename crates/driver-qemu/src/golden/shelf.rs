//! The saved golden VMs on disk: which there are, and which may go. They are large, so their number is bounded.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::host::files::STAT_BLOCK_BYTES;
use crate::host::lock;
use crate::paths::Layout;
use crate::vm::machine::Shape;

/// How many saved golden VMs are kept; the least recently used go first.
const KEPT: usize = 6;
/// How the directory of one that is being built ends.
const HALF: &str = ".half";

/// What is written beside a saved golden VM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) image: String,
    pub(crate) image_digest: String,
    /// What changes whenever a block of the image's disks does; empty in records of earlier versions.
    #[serde(default)]
    pub(crate) identity: String,
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

/// What a newly built golden VM makes superfluous.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    pub(crate) key: &'a str,
    pub(crate) image: &'a str,
    pub(crate) shape: Shape,
    /// Fingerprint of its authority.
    pub(crate) ca: &'a str,
}

/// Removes golden VMs that the newcomer replaces (same image, shape and CA; another agent or QEMU), what killed builders and
/// discarded ones left, and the least recently used beyond [`KEPT`]. Those in use or being built stay. Does nothing while a
/// builder hands its lock over.
pub(crate) fn prune(layout: &Layout, newcomer: Newcomer<'_>) {
    let Some(_held) = lock::try_exclusive(&handover_path(layout)) else { return };
    remove_leftovers(layout);
    let mut others = Vec::new();
    for (key, dir, record) in all(layout).into_iter().filter(|(key, ..)| key != newcomer.key) {
        if record.image == newcomer.image && record.shape == newcomer.shape && record.ca == newcomer.ca {
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

/// Removes the golden VMs that were made from the disk of an image, but those in use and those of `others`, and what is left over.
pub(crate) fn forget_image(layout: &Layout, digest: &str, others: &[String]) {
    let Some(_held) = lock::try_exclusive(&handover_path(layout)) else { return };
    remove_leftovers(layout);
    for (key, dir, _) in all(layout).into_iter().filter(|(.., record)| {
        let shared = others.contains(&record.identity);
        record.image_digest == digest && !shared
    }) {
        remove_unused(layout, &key, &dir);
    }
}

/// The lock of one golden VM: exclusive while it is built or removed, shared while it is used.
pub(crate) fn lock_path(layout: &Layout, key: &str) -> PathBuf {
    layout.goldens().join(format!("{key}.lock"))
}

/// The lock that a builder shares while it gives up the exclusive lock of its golden VM and has not shared it yet. Whoever
/// removes golden VMs has it alone.
pub(crate) fn handover_path(layout: &Layout) -> PathBuf {
    layout.goldens().join("handover.lock")
}

/// Where a golden VM is built, until it gets its place.
pub(crate) fn half_path(layout: &Layout, key: &str) -> PathBuf {
    layout.goldens().join(format!("{key}{HALF}"))
}

/// Disk that golden VMs take, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By the digest of the image that they were made from.
    pub(crate) by_image: BTreeMap<String, u64>,
    /// Those that are being built, and what is left of others.
    pub(crate) unfinished_bytes: u64,
}

/// What golden VMs take now.
pub(crate) fn usage(layout: &Layout) -> Usage {
    let mut usage = Usage::default();
    for dir in directories(layout) {
        let bytes = disk_bytes(&dir);
        match Record::read(&dir) {
            Some(record) => *usage.by_image.entry(record.image_digest).or_default() += bytes,
            None => usage.unfinished_bytes += bytes,
        }
    }
    usage
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    files.map(|meta| meta.blocks() * STAT_BLOCK_BYTES).sum()
}

fn directories(layout: &Layout) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(layout.goldens()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn all(layout: &Layout) -> Vec<(String, PathBuf, Record)> {
    let whole = |dir: PathBuf| Some((dir.file_name()?.to_str()?.to_owned(), Record::read(&dir)?, dir));
    let found = directories(layout).into_iter().filter_map(whole).filter(|(name, ..)| !name.ends_with(HALF));
    found.map(|(key, record, dir)| (key, dir, record)).collect()
}

/// Removes half-built golden VMs of killed builders, and discarded ones.
fn remove_leftovers(layout: &Layout) {
    for dir in directories(layout) {
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
        let (key, half) = name.strip_suffix(HALF).map_or((name, false), |key| (key, true));
        if half || Record::read(&dir).is_none() {
            remove_if(layout, key, &dir, || half || Record::read(&dir).is_none());
        }
    }
}

fn remove_unused(layout: &Layout, key: &str, dir: &Path) {
    remove_if(layout, key, dir, || true);
}

/// Removes what nobody builds or uses, if it still is what it was taken for once its lock is held.
fn remove_if(layout: &Layout, key: &str, dir: &Path, still: impl Fn() -> bool) {
    // The lock file stays: another process may be waiting on it, and a second file of that name would guard nothing.
    if let Some(_held) = lock::try_exclusive(&lock_path(layout, key))
        && still()
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
                identity: image.to_owned(),
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
        prune(&shelf.layout, Newcomer { key: "new", image: "debian", shape: SHAPE, ca: "ca" });
        shelf.check("new other-ca other-image used");
        forget_image(&shelf.layout, "ubuntu", &["ubuntu".to_owned()]);
        shelf.check("new other-ca other-image used");
        forget_image(&shelf.layout, "ubuntu", &["debian".to_owned()]);
        shelf.check("new other-ca used");
    }

    #[test]
    fn the_least_recently_used_go_when_there_are_too_many() {
        let shelf = Shelf::new();
        for n in 0..KEPT + 2 {
            shelf.put(&format!("g{n}"), &format!("image{n}"), "ca", 100 - n as u64);
        }
        let last = format!("g{}", KEPT + 1);
        prune(&shelf.layout, Newcomer { key: &last, image: "x", shape: SHAPE, ca: "ca" });
        shelf.check("g2 g3 g4 g5 g6 g7");
    }

    const NEWCOMER: Newcomer<'_> = Newcomer { key: "new", image: "debian", shape: SHAPE, ca: "ca" };

    #[test]
    fn what_is_left_over_goes_unless_somebody_builds_it() {
        let shelf = Shelf::new();
        shelf.put("new", "debian", "ca", 0);
        let (left, built) = (half_path(&shelf.layout, "left"), half_path(&shelf.layout, "built"));
        let discarded = shelf.layout.goldens().join("discarded");
        for dir in [&left, &built, &discarded] {
            std::fs::create_dir(dir).expect("create");
            std::fs::write(dir.join("memory"), vec![1; 8192]).expect("write");
        }
        // A builder writes the record before the directory gets its name.
        std::fs::copy(shelf.layout.goldens().join("new/golden.json"), built.join("golden.json")).expect("copy");
        let builder = File::create(lock_path(&shelf.layout, "built")).expect("lock");
        builder.lock().expect("lock");
        assert!(usage(&shelf.layout).unfinished_bytes >= 2 * 8192);
        prune(&shelf.layout, NEWCOMER);
        assert_eq!((left.exists(), discarded.exists(), built.exists()), (false, false, true));
        drop(builder);
        prune(&shelf.layout, NEWCOMER);
        assert!(!built.exists());
        shelf.check("new");
    }

    #[test]
    fn a_builder_that_hands_its_lock_over_loses_nothing() {
        let shelf = Shelf::new();
        shelf.put("new", "debian", "ca", 0);
        shelf.put("just-built", "debian", "ca", 0);
        let handover = File::create(handover_path(&shelf.layout)).expect("lock");
        handover.lock_shared().expect("lock");
        prune(&shelf.layout, NEWCOMER);
        forget_image(&shelf.layout, "debian", &[]);
        shelf.check("just-built new");
        drop(handover);
        prune(&shelf.layout, NEWCOMER);
        shelf.check("new");
    }

    #[test]
    fn what_golden_vms_take_is_counted_by_image() {
        let shelf = Shelf::new();
        for (key, image) in [("a", "debian"), ("b", "debian"), ("c", "ubuntu")] {
            shelf.put(key, image, "ca", 0);
            let memory = File::create(shelf.layout.goldens().join(key).join("memory")).expect("create");
            // What is only its length takes no disk.
            memory.set_len(1 << 30).expect("length");
        }
        std::fs::write(shelf.layout.goldens().join("b/disk.qcow2"), vec![1; 1 << 20]).expect("write");
        let usage = usage(&shelf.layout);
        assert_eq!(usage.by_image.keys().collect::<Vec<_>>(), ["debian", "ubuntu"]);
        assert!((1 << 20..2 << 20).contains(&usage.by_image["debian"]), "{usage:?}");
        assert!(usage.by_image["ubuntu"] < 1 << 20, "{usage:?}");
        assert_eq!(usage.unfinished_bytes, 0);
    }
}
