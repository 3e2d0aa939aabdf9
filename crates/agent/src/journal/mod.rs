//! Records of the agent's actions, written before each action. A later process of the agent learns from them what
//! happened before.
//!
//! ```text
//!  claim, setup, start of a step ─► a line of STATE_DIR/journal ─► then it is done
//!                                            │
//!  a new process of the agent ─► Found::look ┴─► nothing: the machine is fresh
//!                                            └─► a journal, of whatever sort: the stage is over
//! ```
//! Lines are not synced to the disk, because they must survive the end of the agent, not that of the machine. The first
//! line holds the kernel's boot id, which tells apart the actions before a reboot. The file is put in place with its
//! first two lines, and space on the disk is reserved for more, so that a full disk keeps no step from starting. If a
//! line cannot be written, its action is not carried out: a machine that would forget an action could repeat it.

mod found;
mod record;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub(crate) use found::{Found, FoundStep};
pub(crate) use record::{Begin, Record};

use crate::lock::lock;
use crate::os::files::{self, Stamp};

/// Name of the file in the state directory.
const NAME: &str = "journal";
/// Room that is set aside on the disk: some thousand steps.
const RESERVED_BYTES: u64 = 1 << 20;

/// A journal that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the journal {path}: {source}; without it a step could run twice, so make room there, or make it writable"
)]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The journal of this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    begin: Begin,
    /// `None` until there is something to write.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// The file after the last line of ours.
    stamp: Stamp,
    /// Somebody else wrote to it before the last line of ours.
    changed: bool,
}

impl Journal {
    /// A journal in this directory, of which nothing is written yet.
    pub(crate) fn new(dir: &Path, begin: Begin) -> Self {
        Self { path: dir.join(NAME), begin, open: Mutex::default() }
    }

    /// Writes a line. What it tells of may be done afterwards.
    ///
    /// # Errors
    /// When it could not be written as a whole; then nothing of it is there.
    pub(crate) fn write(&self, record: &Record) -> Result<(), JournalError> {
        let mut open = lock(&self.open);
        let written = match &mut *open {
            Some(open) => open.append(&record.line()),
            none => self.put_in_place(record).map(|new| *none = Some(new)),
        };
        written.map_err(|source| JournalError { path: self.path.clone(), source })
    }

    /// Prepares the file under another name first, so that nobody ever finds a journal without lines.
    fn put_in_place(&self, record: &Record) -> io::Result<Open> {
        let beside = self.path.with_extension("new");
        let made = (|| {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut file = files::create_private(&beside)?;
            if let Err(error) = files::reserve(&file, 0, RESERVED_BYTES) {
                tracing::info!(%error, "no room is set aside for the journal");
            }
            file.write_all(format!("{}{}", self.begin.line(), record.line()).as_bytes())?;
            std::fs::rename(&beside, &self.path)?;
            let stamp = Stamp::of(&file)?;
            Ok(Open { file, stamp, changed: false })
        })();
        if made.is_err() {
            // The file may not exist.
            drop(std::fs::remove_file(&beside));
        }
        made
    }

    /// Returns whether anything was written.
    pub(crate) fn is_begun(&self) -> bool {
        lock(&self.open).is_some()
    }

    /// Describes a change to the file by somebody else, or returns `None` if there is none.
    pub(crate) fn damage(&self) -> Option<&'static str> {
        let open = lock(&self.open);
        let open = open.as_ref()?;
        match Stamp::at(&self.path) {
            Ok(now) if now == open.stamp && !open.changed => None,
            Ok(_) => Some("its journal was changed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("its journal was removed"),
            // Other errors do not prove a change.
            Err(_) => None,
        }
    }
}

impl Open {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.changed |= Stamp::of(&self.file)? != self.stamp;
        let written = self.file.write_all(line.as_bytes());
        if written.is_err() {
            // The next writer would take half a line for a whole one.
            self.file.set_len(self.stamp.len)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.stamp.len))?;
        }
        self.stamp = Stamp::of(&self.file)?;
        written
    }
}

#[cfg(test)]
mod tests;
