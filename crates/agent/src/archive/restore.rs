//! Unpacks a cache's archive. What goes wrong half-way leaves everything as it was before.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::path::{Component, Path, PathBuf};

use axum::body::Body;
use kiln_wire::agent::archive::{END, UnpackRequest};
use kiln_wire::agent::kiln::UnpackedResponse;

use super::changes::Changes;
use super::format::{Decoder, Watched, buffered};
use super::place::Place;
use super::roots::Root;
use super::save::Work;
use super::{ArchiveError, bridge};
use crate::bulk::{Stall, on_thread};
use crate::host::make_dir_of;
use crate::os::account::Account;
use crate::os::folder::There;

/// Read, write and search for the owner.
const OWNER_ALL: u32 = 0o700;
/// Folders closed to their owner whose modes are kept for the end. Further ones stay open.
const CLOSED_FOLDERS: usize = 10_000;

/// Unpacks the archive that a body brings.
///
/// # Errors
/// When a path cannot be used, the archive is broken, an entry is covered by none of the paths, or the disk is full. What was made until
/// then is removed, and what was replaced comes back.
pub(crate) async fn restore(
    body: Body,
    request: UnpackRequest,
    work: Work,
    stall: Stall,
) -> Result<UnpackedResponse, ArchiveError> {
    let roots = Root::all(&request.base, &request.paths, work.home.as_deref())?;
    let mut from = bridge::reader(body, stall.within);
    let done = on_thread("restore", move || {
        let unpacked = unpack(&roots, &request, work.account.as_ref(), &mut from);
        drop(work);
        unpacked
    });
    let done = done.map_err(ArchiveError::Thread)?.await;
    let defect = |_| ArchiveError::Unpack { path: PathBuf::new(), source: io::Error::other("a defect of the agent") };
    done.map_err(defect)?
}

/// Unpacks an archive below roots, as the account.
fn unpack(
    roots: &[Root],
    request: &UnpackRequest,
    account: Option<&Account>,
    from: &mut dyn BufRead,
) -> Result<UnpackedResponse, ArchiveError> {
    let _acting = account.map(Account::act);
    let broken = Cell::new(false);
    let (mut changes, mut from) = (Changes::default(), from);
    let unpacked = (|| {
        let decoder = Decoder::new(request.format, &mut from).map_err(ArchiveError::Broken)?;
        let decoder = buffered(Watched::new(decoder, &broken));
        let mut restoring = Restoring { roots, places: Vec::new(), changes: &mut changes, closed: Vec::new() };
        restoring.places.resize_with(roots.len(), || None);
        restoring.archive(decoder, account)
    })();
    // What is not taken would keep whoever sends it from hearing the answer, and its end may say that it is no whole archive.
    let rest = io::copy(&mut from, &mut io::sink());
    let error = match (unpacked, rest) {
        (Ok(done), Ok(_)) => {
            changes.keep();
            return Ok(done);
        }
        (_, Err(error)) => ArchiveError::Lost(error),
        (Err(ArchiveError::Unpack { source, .. }), Ok(_)) if broken.get() || is_cut(&source) => {
            ArchiveError::Broken(source)
        }
        (Err(error), Ok(_)) => error,
    };
    changes.undo();
    Err(error)
}

/// Whether an archive ended within a file.
fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

struct Restoring<'r> {
    roots: &'r [Root],
    /// The folder of each root, once something was made there.
    places: Vec<Option<Place>>,
    changes: &'r mut Changes,
    /// Folders that are closed to their owner in the end, with their modes.
    closed: Vec<(usize, PathBuf, u32)>,
}

impl Restoring<'_> {
    fn archive(&mut self, from: impl Read, account: Option<&Account>) -> Result<UnpackedResponse, ArchiveError> {
        let mut archive = tar::Archive::new(from);
        let (mut done, mut ended) = (UnpackedResponse::default(), false);
        for entry in archive.entries().map_err(ArchiveError::Broken)? {
            let mut entry = entry.map_err(ArchiveError::Broken)?;
            let path = entry.path().map_err(ArchiveError::Broken)?.into_owned();
            if path == Path::new(END) {
                ended = true;
                break;
            }
            done.entries += 1;
            done.bytes += entry.size();
            self.entry(&path, &mut entry, account)?;
        }
        if !ended {
            return Err(ArchiveError::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, "it has no end")));
        }
        // What is behind the last entry has the check sums of the compression.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Broken)?;
        self.close()?;
        Ok(done)
    }

    fn entry<R: Read>(
        &mut self,
        path: &Path,
        entry: &mut tar::Entry<'_, R>,
        account: Option<&Account>,
    ) -> Result<(), ArchiveError> {
        let (number, below) = self.root_of(path, entry.header().entry_type().is_dir())?;
        let at = self.roots[number].dir.join(&below);
        let fail = |source: io::Error| ArchiveError::Unpack {
            path: at.clone(),
            source: io::Error::new(source.kind(), format!("{}: {source}", at.display())),
        };
        let lost = || broken(path, "lies in a folder that is not there");
        self.open(number, account).map_err(fail)?;
        let place = self.places[number].as_mut().ok_or_else(lost)?;
        let kind = entry.header().entry_type();
        let before = place.look(&below).map_err(fail)?.ok_or_else(lost)?;
        match before {
            There::Nothing => self.changes.made(&at),
            There::Folder => {}
            There::Other => self.changes.set_aside(place, &below, &at).map_err(fail)?,
        }
        let done = if kind.is_dir() {
            place.folder_at(&below)
        } else if kind.is_symlink() {
            let target = entry.link_name().map_err(ArchiveError::Broken)?;
            let target = target.ok_or_else(|| broken(path, "is a link to nothing"))?;
            place.link(&below, &target)
        } else {
            place.file(&below, entry)
        };
        if !done.map_err(fail)? {
            return Err(broken(path, "is of a kind that caches do not have"));
        }
        if kind.is_dir() && before != There::Folder {
            let mode = entry.header().mode().map_err(ArchiveError::Broken)?;
            if mode & OWNER_ALL == OWNER_ALL {
                place.set_mode(&below, mode).map_err(fail)?;
            } else if self.closed.len() < CLOSED_FOLDERS {
                // Last, because a folder without write permission would refuse its own files.
                self.closed.push((number, below, mode));
            }
        }
        Ok(())
    }

    /// Opens the folder of a root, and makes it where it is not there.
    fn open(&mut self, number: usize, account: Option<&Account>) -> io::Result<()> {
        if self.places[number].is_none() {
            let dir = &self.roots[number].dir;
            let new = crate::host::missing(dir);
            new.last().into_iter().for_each(|folder| self.changes.made(folder));
            make_dir_of(dir, account)?;
            self.places[number] = Some(Place::new(dir)?);
        }
        Ok(())
    }

    /// Returns the number of an entry's root and the path below the root's folder.
    fn root_of(&self, path: &Path, is_folder: bool) -> Result<(usize, PathBuf), ArchiveError> {
        let mut parts = path.components();
        let outside = || ArchiveError::Outside { path: path.to_owned() };
        let Some(Component::Normal(number)) = parts.next() else { return Err(outside()) };
        let number = number.to_str().and_then(|number| number.parse::<usize>().ok());
        let number = number.filter(|number| *number < self.roots.len()).ok_or_else(outside)?;
        let mut names = Vec::new();
        for part in parts {
            let Component::Normal(name) = part else { return Err(outside()) };
            names.push(name.to_str().ok_or_else(outside)?);
        }
        let root = &self.roots[number];
        let fits = root.covers(names.iter().copied()) || is_folder && root.may_lie_below(names.iter().copied());
        if names.is_empty() || !fits {
            return Err(outside());
        }
        Ok((number, names.iter().collect()))
    }

    /// Closes the folders that are closed to their owner, the innermost first.
    fn close(&mut self) -> Result<(), ArchiveError> {
        for (number, below, mode) in std::mem::take(&mut self.closed).into_iter().rev() {
            let path = self.roots[number].dir.join(&below);
            if let Some(place) = &mut self.places[number] {
                place.set_mode(&below, mode).map_err(|source| ArchiveError::Unpack { path, source })?;
            }
        }
        Ok(())
    }
}

fn broken(path: &Path, what: &str) -> ArchiveError {
    ArchiveError::Broken(io::Error::new(io::ErrorKind::InvalidData, format!("its entry {} {what}", path.display())))
}
