//! Packs the files that globs match into a tar stream.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use axum::body::Body;
use kiln_wire::agent::kiln::FilesRequest;

use super::ArchiveError;
use super::bridge::{self, BodyWriter};
use crate::bulk::{Slot, Stall, on_thread};
use crate::glob::Glob;
use crate::watchdog::Open;

/// Sum of file sizes when the request sets none.
const MOST_BYTES: u64 = 64 << 30;
/// Entries of one archive.
const MOST_ENTRIES: u64 = 1_000_000;
/// Depth of directories.
const MOST_DEPTH: usize = 256;
const LEVEL: i32 = 1;

/// A body with the files, packed by zstd. Names are relative to the base; files that an absolute glob matches
/// elsewhere are named by their whole path without the first slash.
pub(crate) fn pack(
    request: FilesRequest,
    home: Option<String>,
    open: Open,
    slot: Slot,
    stall: Stall,
) -> Result<Body, ArchiveError> {
    let base = PathBuf::from(&request.base);
    if !base.is_absolute() {
        return Err(ArchiveError::Directory { what: "base", path: base });
    }
    let (writer, body) = bridge::writer(stall);
    let started = on_thread("pack", move || {
        write(&base, &request, home.as_deref(), writer);
        drop((open, slot));
    });
    started.map_err(ArchiveError::Thread)?;
    Ok(body)
}

fn write(base: &Path, request: &FilesRequest, home: Option<&str>, mut to: BodyWriter) {
    let packed = (|| -> io::Result<()> {
        let encoder = zstd::stream::write::Encoder::new(&mut to, LEVEL)?;
        let mut archive = tar::Builder::new(encoder);
        archive.follow_symlinks(false);
        let most_bytes = if request.max_bytes == 0 { MOST_BYTES } else { request.max_bytes };
        let mut walk = Walk {
            base,
            archive: &mut archive,
            bytes_left: most_bytes,
            entries_left: MOST_ENTRIES,
            seen: (request.paths.len() > 1).then(HashSet::new),
        };
        for glob in &request.paths {
            walk.glob(glob, home)?;
        }
        archive.into_inner()?.finish()?.flush()
    })();
    if let Err(error) = &packed {
        tracing::warn!(%error, "cannot pack files");
    }
    to.end(packed);
}

struct Walk<'a, W: io::Write> {
    base: &'a Path,
    archive: &'a mut tar::Builder<W>,
    bytes_left: u64,
    entries_left: u64,
    /// Hashes of the paths that are packed, when several globs may match one file.
    seen: Option<HashSet<u64>>,
}

impl<W: io::Write> Walk<'_, W> {
    fn glob(&mut self, pattern: &str, home: Option<&str>) -> io::Result<()> {
        let pattern = match (pattern.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => format!("{home}/{rest}"),
            _ => pattern.to_owned(),
        };
        let root = if pattern.starts_with('/') { Path::new("/") } else { self.base };
        let glob = Glob::new(&pattern);
        let fixed = glob.fixed();
        let start = fixed.iter().fold(root.to_path_buf(), |dir, name| dir.join(name));
        self.dir(&start, &glob, &fixed, false)
    }

    /// Goes through a directory. `names` is its path from the root of the glob; `all` takes everything in it.
    fn dir(&mut self, dir: &Path, glob: &Glob, names: &[String], all: bool) -> io::Result<()> {
        if names.len() > MOST_DEPTH {
            return Ok(());
        }
        // One that is missing or closed to us holds nothing that matches.
        let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let Ok(kind) = entry.file_type() else { continue };
            let mut below = names.to_vec();
            below.push(name);
            let parts: Vec<&str> = below.iter().map(String::as_str).collect();
            let taken = all || glob.matches(&parts);
            if kind.is_dir() {
                if taken || glob.may_match_below(&parts) {
                    self.dir(&path, glob, &below, taken)?;
                }
            } else if taken && (kind.is_file() || kind.is_symlink()) {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        if let Some(seen) = &mut self.seen {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                return Ok(());
            }
        }
        // It may be gone since it was listed.
        let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
        let over = |what: &str| io::Error::other(format!("the files are more than the limit of {what}"));
        self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| over("entries"))?;
        self.bytes_left = self.bytes_left.checked_sub(meta.len()).ok_or_else(|| over("bytes"))?;
        let name = path.strip_prefix(self.base).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
        if meta.is_symlink() {
            return self.archive.append_path_with_name(path, name);
        }
        // A file that grows or shrinks meanwhile must not break the archive.
        let Ok(file) = fs::File::open(path) else { return Ok(()) };
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&meta);
        let content = io::Read::chain(io::Read::take(file, meta.len()), io::repeat(0));
        self.archive.append_data(&mut header, name, io::Read::take(content, meta.len()))
    }
}
