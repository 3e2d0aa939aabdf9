//! What the agent wrote down before it did it, so that a process of it that is started later knows what went before.
//!
//! ```text
//!  claim, setup, start of a step ─► a line of STATE_DIR/journal ─► then it is done
//!                                            │
//!  a new process of the agent ─► Found::look ┴─► nothing: the machine is fresh
//!                                            └─► a journal, of whatever sort: the stage is over
//! ```
//! Lines are not synced to the disk: what is to be survived is the end of the agent, not that of the machine. The first one
//! holds the kernel's boot, so that what a machine did before it was booted is told apart. The file is put in place with its
//! first two lines, and room on the disk is set aside for more, so that a full disk keeps no step from starting. A line that
//! cannot be written keeps from happening what it tells of: a machine that would forget it could do it twice.

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
    /// None until there is something to write.
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

    /// Makes the file beside its place first: nobody ever finds one without lines.
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
            // It may never have been there.
            drop(std::fs::remove_file(&beside));
        }
        made
    }

    /// Whether anything was written.
    pub(crate) fn is_begun(&self) -> bool {
        lock(&self.open).is_some()
    }

    /// What somebody else did to the file, in words; none when it is as it was left.
    pub(crate) fn damage(&self) -> Option<&'static str> {
        let open = lock(&self.open);
        let open = open.as_ref()?;
        match Stamp::at(&self.path) {
            Ok(now) if now == open.stamp && !open.changed => None,
            Ok(_) => Some("its journal was changed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("its journal was removed"),
            // Whatever it is, it does not show that somebody changed something.
            Err(_) => None,
        }
    }
}

impl Open {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.changed |= Stamp::of(&self.file)? != self.stamp;
        let written = self.file.write_all(line.as_bytes());
        if written.is_err() {
            // Half a line would be taken for a whole one by whoever writes the next.
            self.file.set_len(self.stamp.len)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.stamp.len))?;
        }
        self.stamp = Stamp::of(&self.file)?;
        written
    }
}

#[cfg(test)]
mod tests;
