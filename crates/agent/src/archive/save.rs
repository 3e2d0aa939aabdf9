//! Packs what lies at paths into an archive, for a cache.

use std::fs;
use std::io::{self, Read as _, Write};
use std::ops::ControlFlow;
use std::path::Path;

use axum::body::Body;
use kiln_mask::Secrets;
use kiln_wire::agent::archive::{END, LENGTH_BYTES, PACKED_MAX_BYTES, PackRequest, PackedResponse};

use super::ArchiveError;
use super::bridge::{self, BodyWriter};
use super::format::Encoder;
use super::roots::Root;
use super::walk::{Kind, at, is_gone, walk};
use crate::bulk::{Slot, Stall, on_thread};
use crate::os::account::Account;
use crate::watchdog::Open;

/// Sum of file sizes when the request sets none.
const MOST_BYTES: u64 = 64 << 30;
/// Entries of one archive.
const MOST_ENTRIES: u64 = 10_000_000;
/// Of what is said about an archive that is not whole, in bytes.
const MOST_WORDS: usize = PACKED_MAX_BYTES / 8;

/// Who reads the files, and for whom that is done.
pub(crate) struct Work {
    /// Whom the steps run as; none for the agent's own user.
    pub(crate) account: Option<Account>,
    /// The home directory of the steps.
    pub(crate) home: Option<String>,
    /// Contact with the agent, and the place among transfers, for as long as the work goes on.
    pub(crate) _held: (Open, Slot),
}

/// A body with the archive, and behind it what was packed.
pub(crate) fn save(
    request: PackRequest,
    work: Work,
    secrets: std::sync::Arc<Secrets>,
    stall: Stall,
) -> Result<Body, ArchiveError> {
    let roots = Root::all(&request.base, &request.paths, work.home.as_deref())?;
    let (writer, body) = bridge::writer(stall);
    let started = on_thread("save", move || {
        // All of it is read as the account reads, so that a link of a step leads nowhere that its account may not go.
        let acting = work.account.as_ref().map(Account::act);
        write(&roots, &request, &secrets, writer);
        drop((acting, work));
    });
    started.map_err(ArchiveError::Thread)?;
    Ok(body)
}

fn write(roots: &[Root], request: &PackRequest, secrets: &Secrets, mut to: BodyWriter) {
    let packed = pack(roots, request, &mut to).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot pack a cache");
        let error = error.to_string().chars().take(MOST_WORDS).collect();
        PackedResponse { error, ..PackedResponse::default() }
    });
    let told = serde_json::to_vec(&secrets.mask(packed)).map_err(io::Error::other).and_then(|json| {
        let length = u32::try_from(json.len()).map_err(io::Error::other)?.to_le_bytes();
        debug_assert_eq!(length.len(), LENGTH_BYTES);
        to.write_all(&json)?;
        to.write_all(&length)?;
        to.flush()
    });
    to.end(told);
}

/// Writes an archive.
///
/// # Errors
/// What could not be read, or written.
fn pack(roots: &[Root], request: &PackRequest, to: &mut dyn Write) -> io::Result<PackedResponse> {
    let encoder = Encoder::new(request.format, to)?;
    let most_bytes = if request.max_bytes == 0 { MOST_BYTES } else { request.max_bytes };
    let mut packing = Packing { archive: tar::Builder::new(encoder), done: PackedResponse::default(), most_bytes };
    for (number, root) in roots.iter().enumerate() {
        let earlier = &roots[..number];
        walk(root, &mut |path, below, kind| {
            if !earlier.iter().any(|root| holds(root, path)) {
                let name = Path::new(&number.to_string()).join(below);
                packing.entry(path, &name, kind).map_err(|error| at(path, &error))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    packing.end()
}

/// Whether an earlier root covers what lies at a path, so that it is in the archive already.
fn holds(root: &Root, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(&root.dir) else { return false };
    root.covers(below.iter().filter_map(|name| name.to_str()))
}

struct Packing<'w> {
    archive: tar::Builder<Encoder<'w>>,
    done: PackedResponse,
    most_bytes: u64,
}

impl Packing<'_> {
    fn entry(&mut self, path: &Path, name: &Path, kind: Kind) -> io::Result<()> {
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.done.entries += 1;
        if self.done.entries > MOST_ENTRIES {
            return Err(io::Error::other(format!("there are more than {MOST_ENTRIES} files")));
        }
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&meta);
        match kind {
            Kind::File if meta.is_file() => self.file(path, name, header),
            Kind::Folder if meta.is_dir() => {
                header.set_size(0);
                self.archive.append_data(&mut header, name, io::empty())
            }
            Kind::Link if meta.is_symlink() => {
                header.set_size(0);
                self.archive.append_link(&mut header, name, fs::read_link(path)?)
            }
            // It became something else since it was listed.
            Kind::File | Kind::Folder | Kind::Link => Ok(()),
        }
    }

    fn file(&mut self, path: &Path, name: &Path, mut header: tar::Header) -> io::Result<()> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        header.set_size(length);
        self.done.bytes += length;
        if self.done.bytes > self.most_bytes {
            return Err(io::Error::other(format!("with it the files have more than {} bytes", self.most_bytes)));
        }
        // A file that grows or shrinks meanwhile must not break the archive.
        let content = file.take(length).chain(io::repeat(0));
        self.archive.append_data(&mut header, name, content.take(length))
    }

    fn end(mut self) -> io::Result<PackedResponse> {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        self.archive.append_data(&mut header, END, io::empty())?;
        self.archive.into_inner()?.finish()?;
        Ok(self.done)
    }
}
