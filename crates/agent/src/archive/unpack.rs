//! Unpacks a tar stream into a directory.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use axum::body::Body;
use kiln_wire::agent::kiln::UnpackedResponse;

use super::place::Place;
use super::{ArchiveError, bridge};
use crate::bulk::{Slot, Stall, on_thread};
use crate::host::make_dir_of;
use crate::os::account::Account;

/// Largest window of a zstd stream that is accepted: 2^24 bytes, more than any level below 20 uses.
const WINDOW_LOG_MAX: u32 = 24;

/// Read, write and search for the owner.
const OWNER_ALL: u32 = 0o700;
/// Directories closed to their owner that are kept for the end.
const CLOSED_DIRS: usize = 1000;

/// Unpacks `body`, packed by zstd or not, into `dir`, which is made. All of it is made as the account makes files, or the
/// agent's own user: it belongs to it, and lies where it may write.
///
/// No entry can be placed outside: names with `..` or an absolute path are refused, links are made but never followed,
/// and a hard link must stay inside.
pub(crate) async fn unpack(
    body: Body,
    dir: PathBuf,
    zstd: bool,
    account: Option<Account>,
    slot: Slot,
    stall: Stall,
) -> Result<UnpackedResponse, ArchiveError> {
    let plain = dir.is_absolute() && !dir.components().any(|part| part == Component::ParentDir);
    if !plain {
        return Err(ArchiveError::Directory { what: "path", path: dir });
    }
    let from = bridge::reader(body, stall.within);
    let fail = |path: PathBuf| move |source| ArchiveError::Unpack { path, source };
    let target = dir.clone();
    let work = on_thread("unpack", move || {
        // Held as long as the thread works, also when nobody waits for it any more.
        let _slot = slot;
        let failed = fail(dir.clone());
        make_dir_of(&dir, account.as_ref()).map_err(failed)?;
        let _acting = account.as_ref().map(Account::act);
        if !zstd {
            return entries(from, &dir);
        }
        let decoder = zstd::stream::read::Decoder::with_buffer(from).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(decoder)
        });
        entries(decoder.map_err(fail(dir.clone()))?, &dir)
    });
    let done = work.map_err(ArchiveError::Thread)?.await;
    done.map_err(|_| ArchiveError::Unpack { path: target, source: std::io::Error::other("a defect of the agent") })?
}

fn entries(from: impl Read, dir: &Path) -> Result<UnpackedResponse, ArchiveError> {
    let fail = |source| ArchiveError::Unpack { path: dir.into(), source };
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    let mut place = Place::new(dir).map_err(fail)?;
    let mut done = UnpackedResponse::default();
    let mut dirs = Vec::new();
    for entry in archive.entries().map_err(fail)? {
        let mut entry = entry.map_err(fail)?;
        let path = entry.path().map_err(fail)?.into_owned();
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(ArchiveError::Outside { path });
        }
        done.entries += 1;
        let closed = entry.header().mode().is_ok_and(|mode| mode & OWNER_ALL != OWNER_ALL);
        if entry.header().entry_type().is_dir() && closed && dirs.len() < CLOSED_DIRS {
            // Last, because a directory without write permission would refuse its own files.
            dirs.push(entry);
            continue;
        }
        done.bytes += entry.size();
        let at = |source: io::Error| fail(io::Error::new(source.kind(), format!("{}: {source}", path.display())));
        if place.file(&path, &mut entry).map_err(at)? {
            continue;
        }
        place.forget();
        if !entry.unpack_in(dir).map_err(fail)? {
            return Err(ArchiveError::Outside { path });
        }
    }
    dirs.sort_by_key(|entry| std::cmp::Reverse(entry.path_bytes().into_owned()));
    for mut entry in dirs {
        let path = entry.path().map_err(fail)?.into_owned();
        if !entry.unpack_in(dir).map_err(fail)? {
            return Err(ArchiveError::Outside { path });
        }
    }
    Ok(done)
}
