//! Removes what is old, what is too much, and what nobody refers to.

use std::collections::HashSet;
use std::fs;
use std::path::Path as FilePath;
use std::time::{Duration, SystemTime};

use crate::entry::{DATA, Listed};
use crate::error::Error;
use crate::store::{Kind, Store};

/// Archives without a key are left alone for so long after their last byte: their key may come yet.
const UNFINISHED_FOR: Duration = Duration::from_secs(3600);
/// What a file's name has while it is written, by the library that writes it.
const STAGED: char = '#';

/// What may stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Most bytes of all archives together. The latest used ones stay.
    pub bytes: Option<u64>,
    /// Caches that were not used for longer go.
    pub unused_for: Option<Duration>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Caches.
    pub removed: Vec<Listed>,
    /// Unfinished archives, and those that were replaced while somebody read them.
    pub leftovers: usize,
    /// Bytes of both.
    pub bytes: u64,
    /// Caches that stay.
    pub kept: usize,
    /// Their bytes.
    pub kept_bytes: u64,
}

impl Store {
    /// Removes what is beyond the limits, the least recently used first, and what is left of archives that were never finished.
    ///
    /// # Errors
    /// When the store cannot be listed, or cannot remove something.
    pub async fn prune(&self, limits: &Limits) -> Result<Pruned, Error> {
        // Before the keys, so that an archive whose key is written meanwhile is not taken for one without.
        let archives = self.all_in(DATA).await?;
        let listed = self.list().await?;
        let now = SystemTime::now();
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut pruned = Pruned::default();
        let mut kept = HashSet::new();
        for listed in listed {
            let unused = since_1970.saturating_sub(Duration::from_millis(listed.used_unix_ms));
            let is_old = limits.unused_for.is_some_and(|most| unused > most);
            let is_over = limits.bytes.is_some_and(|most| pruned.kept_bytes + listed.entry.bytes > most);
            kept.insert(listed.entry.data());
            if is_old || is_over {
                self.remove(&listed.entry.name()).await?;
                pruned.bytes += listed.entry.bytes;
                pruned.removed.push(listed);
            } else {
                pruned.kept += 1;
                pruned.kept_bytes += listed.entry.bytes;
            }
        }
        for archive in archives.iter().filter(|archive| !kept.contains(&archive.location)) {
            let age = now.duration_since(SystemTime::from(archive.last_modified)).unwrap_or_default();
            if age > UNFINISHED_FOR {
                self.delete(&archive.location).await?;
                pruned.leftovers += 1;
                pruned.bytes += archive.size;
            }
        }
        if let Kind::Directory(root) = &self.kind {
            let (files, bytes) = remove_staged(&root.join(DATA), now);
            pruned.leftovers += files;
            pruned.bytes += bytes;
        }
        Ok(pruned)
    }
}

/// Removes files that somebody began to write and never ended, which lists do not show. Returns how many there were, and their bytes.
fn remove_staged(dir: &FilePath, now: SystemTime) -> (usize, u64) {
    let Ok(entries) = fs::read_dir(dir) else { return (0, 0) };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries.flatten() {
        let is_staged = entry.file_name().to_string_lossy().contains(STAGED);
        let Ok(meta) = entry.metadata() else { continue };
        let age = meta.modified().ok().and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
        if is_staged && age > UNFINISHED_FOR && fs::remove_file(entry.path()).is_ok() {
            (files, bytes) = (files + 1, bytes + meta.len());
        }
    }
    (files, bytes)
}
