//! Logs in files, where a stage has no log service: one JSON object for each line, below the engine directory, by the
//! log's key.
//!
//! Steps of any user write to that directory, and the agent may be root. So no link is followed on the way to the file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::delivery::{Delivery, Unreadable};
use super::line::Splitter;
use crate::os::{files, folder};

/// A file that others may read, as other tools of the machine do.
const MODE: u32 = 0o644;
/// It is written in parts of about this size.
const PART_BYTES: usize = 64 << 10;

/// A key that names no file of the folder.
#[derive(Debug, thiserror::Error)]
#[error("log_key {key:?} does not name a file below the engine directory; leave out empty parts, `.` and `..`")]
pub struct KeyError {
    key: String,
}

/// The parts of a key's path.
///
/// # Errors
/// When it would lead anywhere else than below the folder.
pub(super) fn parts(key: &str) -> Result<Vec<&str>, KeyError> {
    let parts: Vec<&str> = key.split('/').collect();
    let leads_out = parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.contains('\0'));
    if leads_out { Err(KeyError { key: key.to_owned() }) } else { Ok(parts) }
}

/// Makes the file of a key.
fn make(dir: &Path, key: &str) -> io::Result<File> {
    let parts = parts(key).map_err(io::Error::other)?;
    let mut at = folder::Folder::open(dir)?;
    let (name, above) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    for part in above {
        at = at.open_or_make(OsStr::new(part))?;
    }
    let file = at.make(OsStr::new(name))?;
    folder::finish(&file, None, Some(MODE))?;
    Ok(file)
}

impl Delivery {
    /// Writes all of a log into its file.
    pub(super) async fn deliver_to_file(&mut self, dir: &Path) -> Result<(), Unreadable> {
        let (at, key) = (dir.to_owned(), self.log.key.clone());
        let made = spawn_blocking(move || make(&at, &key)).await.map_err(io::Error::other).and_then(|made| made);
        let mut file = match made {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(key = self.log.key, dir = %dir.display(), %error, "a log is not kept in a file");
                return Ok(());
            }
        };
        loop {
            let progress = self.news(self.sent.at()).await;
            let begun = Instant::now();
            while self.sent.at() < progress.len || (progress.ended && !self.sent.is_between_lines()) {
                let part = self.part(progress.len, progress.ended).await?;
                if files::free_bytes(dir).is_some_and(|free| free < self.service.disk_reserve_bytes) {
                    tracing::warn!(key = self.log.key, "a log ends here in its file: the disk is full");
                    let mut note = Vec::new();
                    let text = "[kiln: the rest of this log is left out: the disk is full]";
                    let (lines, form) = (&self.service.lines, self.source.for_file(progress.len));
                    lines.note(self.sent.lines(), text, form, &mut note);
                    note.push(b'\n');
                    // What is not there is told in the agent's own log already.
                    drop(file.write_all(&note));
                    return Ok(());
                }
                let written = spawn_blocking(move || file.write_all(&part).map(|()| file)).await;
                file = match written.map_err(io::Error::other).and_then(|written| written) {
                    Ok(file) => file,
                    Err(error) => {
                        tracing::warn!(key = self.log.key, %error, "a log is not kept in a file");
                        return Ok(());
                    }
                };
            }
            if progress.ended {
                return Ok(());
            }
            tokio::time::sleep_until(begun + self.service.pace.gather).await;
        }
    }

    /// The next lines, written down.
    async fn part(&mut self, until: u64, ended: bool) -> Result<Vec<u8>, Unreadable> {
        let (lines, times) = (&self.service.lines, self.source.clone());
        let mut part = Vec::new();
        let mut sent: Splitter = std::mem::take(&mut self.sent);
        let read = self.source.lines(&mut sent, until, ended, |piece| {
            lines.write(piece, times.for_file(piece.end), &mut part);
            part.push(b'\n');
            part.len() < PART_BYTES
        });
        let read = read.await;
        self.sent = sent;
        read.map(|()| part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_lead_out_of_its_folder() {
        for key in ["", "/srv/x", "../x", "a/../../x", "a//b", "a/.", "a/", "a\0b"] {
            assert!(parts(key).is_err(), "{key:?}");
        }
        assert_eq!(parts("a/b..c/..d").expect("a key"), ["a", "b..c", "..d"]);
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let link = |to: &Path, name: &str| {
            let made = std::process::Command::new("ln").arg("-s").arg(to).arg(dir.path().join(name)).status();
            assert!(made.expect("ln").success());
        };
        link(other.path(), "out");
        let kept = other.path().join("kept");
        std::fs::write(&kept, "as it was").expect("a file");
        link(&kept, "file");
        assert!(make(dir.path(), "out/x").is_err());
        assert!(!other.path().join("x").exists());
        make(dir.path(), "file").expect("a file").write_all(b"new").expect("a file");
        assert_eq!(std::fs::read_to_string(kept).expect("a file"), "as it was");
        assert_eq!(std::fs::read_to_string(dir.path().join("file")).expect("a file"), "new");
        make(dir.path(), "a/b/c").expect("a file");
        make(dir.path(), "a/b/c").expect("the same file again");
        assert!(dir.path().join("a/b/c").is_file());
    }
}
