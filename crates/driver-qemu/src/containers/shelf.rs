//! The layers on disk: which there are, and which may go.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::{files, lock};
use crate::images::{Images, Layer};
use crate::paths::Layout;

/// How many layers that pools asked for are kept; the least recently used go first.
const KEPT: usize = 4;
const RECORD: &str = "layer.json";
/// How the directory of one ends that is being made.
const HALF: &str = ".half";

/// What is written beside a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Identity of the image that it was made on.
    pub(super) on: String,
    /// The references that a pool wanted in addition; empty for a layer that was made for the image itself.
    pub(super) wanted: Vec<String>,
    pub(super) layer: Layer,
}

impl Record {
    fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(RECORD)).ok()?).ok()
    }

    /// Writes the record beside the layer that is being made in `half`, and puts both in place.
    pub(super) fn put_in_place(mut self, layout: &Layout, half: &Path) -> Result<Layer, QemuError> {
        let text = serde_json::to_vec_pretty(&self).map_err(|e| QemuError::Invalid(e.to_string()))?;
        let record = half.join(RECORD);
        files::write_private(&record, &text).map_err(QemuError::io("write", &record))?;
        self.layer = self.layer.below(&layout.layers());
        lock::remove_tree(&self.layer.dir)?;
        std::fs::rename(half, &self.layer.dir).map_err(QemuError::io("move into place", &self.layer.dir))?;
        Ok(self.layer)
    }
}

/// Returns the layer that was made on an image of this identity for these references, and notes that it is used.
pub(super) fn find(layout: &Layout, on: &str, wanted: &[String]) -> Option<Layer> {
    let (dir, record) = all(layout).into_iter().find(|(_, record)| record.on == on && record.wanted == wanted)?;
    // Only the order of removal depends on it.
    let _ = std::fs::File::open(dir.join(RECORD)).and_then(|file| file.set_modified(SystemTime::now()));
    Some(record.layer.below(&layout.layers()))
}

/// Where a layer is made. Whoever makes one holds the lock.
pub(super) fn half_path(layout: &Layout) -> PathBuf {
    layout.layers().join(format!("new{HALF}"))
}

/// The lock of whoever makes or removes layers.
pub(super) fn lock_path(layout: &Layout) -> PathBuf {
    layout.layers().join("lock")
}

/// Removes the layers that no image has and no pool can want any more, and the least recently used beyond [`KEPT`]. Does
/// nothing while somebody makes a layer. Running VMs keep their files until they end.
pub(crate) fn forget_unused(images: &Images) {
    if let Some(_held) = lock::try_exclusive(&lock_path(&images.layout)) {
        prune(images);
    }
}

/// The same, for the holder of the lock.
pub(super) fn prune(images: &Images) {
    // What cannot be listed cannot be judged.
    let Ok(known) = images.list() else { return };
    let own = |key: &str| known.iter().any(|image| image.layer.as_ref().is_some_and(|layer| layer.key == key));
    let made_on = |on: &str| known.iter().any(|image| image.identity() == on);
    let mut pools = Vec::new();
    for (dir, record) in all(&images.layout) {
        if own(&record.layer.key) {
            continue;
        }
        if record.wanted.is_empty() || !made_on(&record.on) {
            remove(&dir);
            continue;
        }
        let used = dir.join(RECORD).metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        pools.push((used, dir));
    }
    pools.sort();
    let surplus = pools.len().saturating_sub(KEPT);
    pools.iter().take(surplus).for_each(|(_, dir)| remove(dir));
    for dir in directories(&images.layout).into_iter().filter(|dir| Record::read(dir).is_none()) {
        remove(&dir);
    }
}

fn remove(dir: &Path) {
    if let Err(error) = lock::remove_tree(dir) {
        tracing::warn!(%error, "an unused layer stays");
    }
}

fn directories(layout: &Layout) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(layout.layers()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn all(layout: &Layout) -> Vec<(PathBuf, Record)> {
    directories(layout).into_iter().filter_map(|dir| Some((dir.clone(), Record::read(&dir)?))).collect()
}
