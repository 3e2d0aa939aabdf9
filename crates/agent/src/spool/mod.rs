//! A step's output on disk: written once, read from any offset by any number of readers.
//!
//! The writer never waits for a reader. When the limit is reached, or the disk runs short, what follows is dropped
//! but for the last part, which is kept in a ring and written at the end behind a marker that says how much is
//! missing: the end of a log is where the error is. Room for it is set aside on the disk ahead of the output, so that it is there
//! also when something else has filled the disk meanwhile.

mod disk;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, watch};

use crate::os::files::{self, Stamp};

pub use writer::{Limits, Writer};

/// Reads of spools at a time. Supervision has the rest of the runtime's threads for such work, however many read.
static READS: Semaphore = Semaphore::const_new(8);

/// How far a spool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in the spool.
    pub len: u64,
    /// No more will come.
    pub ended: bool,
    /// Output was dropped.
    pub cut: bool,
}

/// What readers share.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// The file as it was made.
    made: Option<Stamp>,
    /// Somebody else made the file shorter.
    shortened: Arc<AtomicBool>,
    /// Nobody needs it any more, so it may be gone.
    removed: AtomicBool,
    progress: watch::Receiver<Progress>,
}

/// The name of the file for the output of the step with this mark.
pub(crate) fn name(mark: &str) -> String {
    format!("{mark}.out")
}

/// Creates the spool file; one of that name is overwritten.
pub fn create(path: PathBuf, limits: Limits) -> io::Result<(Writer, Arc<Spool>)> {
    let file = files::create_private(&path).or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(dir)) => {
            std::fs::create_dir_all(dir)?;
            files::create_private(&path)
        }
        _ => Err(error),
    })?;
    let (sender, progress) = watch::channel(Progress::default());
    let made = Stamp::of(&file).ok();
    let shortened = Arc::<AtomicBool>::default();
    let disk = disk::Spooled { file, path: path.clone(), shortened: shortened.clone() };
    let spool = Spool { path, made, shortened, removed: AtomicBool::new(false), progress };
    Ok((Writer::new(Box::new(disk), limits, sender), Arc::new(spool)))
}

/// What is kept of a step of an earlier process of the agent: its output is at its end, with or without a file.
pub(crate) fn left(path: PathBuf, limits: Limits) -> Arc<Spool> {
    let made = Stamp::at(&path).ok();
    let len = made.map_or(0, |stamp| stamp.len);
    let (_, progress) = watch::channel(Progress { len, ended: true, cut: len >= limits.bytes });
    Arc::new(Spool { path, made, shortened: Arc::default(), removed: AtomicBool::new(false), progress })
}

impl Spool {
    /// How far it is now.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// How far it is, now and later.
    pub(crate) fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Opens it for reading. An open reader goes on even when the spool is removed.
    pub fn reader(&self) -> io::Result<Reader> {
        Ok(Reader { file: Arc::new(File::open(&self.path)?), progress: self.progress.clone() })
    }

    /// What somebody else did to the file, in words; none when it is as it was written.
    pub(crate) fn damage(&self) -> Option<&'static str> {
        let (made, least) = (self.made?, self.progress().len);
        let damage = match Stamp::at(&self.path) {
            Ok(now) if !now.is_same_file(&made) => Some("the output that it kept was replaced"),
            Ok(now) if now.len < least || self.shortened.load(Ordering::Acquire) => {
                Some("the output that it kept was shortened")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("the output that it kept was removed"),
            // What cannot be looked at does not show that somebody changed something.
            Ok(_) | Err(_) => None,
        };
        damage.filter(|_| !self.removed.load(Ordering::Acquire))
    }

    /// Removes the file.
    pub fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a spool");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a spool while it grows.
#[derive(Debug, Clone)]
pub struct Reader {
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
}

impl Reader {
    /// Up to `most` bytes at `offset`; waits for them. Empty means the end.
    pub async fn read(&mut self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let len = loop {
            let now = *self.progress.borrow_and_update();
            if now.len > offset {
                break now.len;
            }
            if now.ended || self.progress.changed().await.is_err() {
                return Ok(Vec::new());
            }
        };
        let wanted = (len - offset).min(most as u64) as usize;
        // What was written just now is still in memory, and to have a thread read it would cost more than the read.
        if let Some(held) = files::read_held_at(&self.file, wanted, offset) {
            return Ok(held);
        }
        let file = self.file.clone();
        // Nobody closes the semaphore.
        let _turn = READS.acquire().await.map_err(io::Error::other)?;
        let read = tokio::task::spawn_blocking(move || {
            let mut out = vec![0; wanted];
            files::read_exact_at(&file, &mut out, offset).map(|()| out)
        });
        read.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use kiln_mask::Masker;

    use super::*;

    /// What somebody does to a file, and what is seen of it.
    type Spoilt = (fn(&Path), Option<&'static str>);

    pub(super) const AMPLE: Limits = Limits { bytes: 1 << 30, disk_reserve_bytes: 0 };

    fn spool(limits: Limits) -> (tempfile::TempDir, Writer, Arc<Spool>) {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let (writer, spool) = create(dir.path().join("a/b.out"), limits).unwrap_or_else(|e| panic!("{e}"));
        (dir, writer, spool)
    }

    /// Writes what a masker without secrets lets through, which is all.
    pub(super) fn write(writer: &mut Writer, bytes: &[u8]) {
        Masker::new(Arc::default()).push(bytes, |settled| writer.write(settled));
    }

    pub(super) async fn all(spool: &Spool, mut offset: u64) -> Vec<u8> {
        let mut reader = spool.reader().unwrap_or_else(|e| panic!("{e}"));
        let mut out = Vec::new();
        loop {
            let part = reader.read(offset, 7).await.unwrap_or_else(|e| panic!("{e}"));
            if part.is_empty() {
                return out;
            }
            offset += part.len() as u64;
            out.extend(part);
        }
    }

    #[tokio::test]
    async fn a_reader_gets_every_byte_from_its_offset() {
        let (_dir, mut writer, spool) = spool(AMPLE);
        write(&mut writer, b"hello ");
        let early = all(&spool, 0);
        let rest = async {
            write(&mut writer, b"world");
            writer.finish();
        };
        assert_eq!(tokio::join!(early, rest).0, b"hello world");
        assert_eq!(all(&spool, 6).await, b"world");
        assert_eq!(all(&spool, 11).await, b"");
        spool.remove();
        assert!(spool.reader().is_err());
    }

    #[tokio::test]
    async fn what_somebody_does_to_the_file_is_seen() {
        let spoilt: [Spoilt; 4] = [
            (|_| {}, None),
            (|path| std::fs::remove_file(path).expect("a file"), Some("the output that it kept was removed")),
            (
                |path| {
                    let beside = path.with_extension("copy");
                    std::fs::copy(path, &beside).expect("a copy");
                    std::fs::rename(&beside, path).expect("a file");
                },
                Some("the output that it kept was replaced"),
            ),
            (|path| std::fs::write(path, "h").expect("a file"), Some("the output that it kept was shortened")),
        ];
        for (spoil, seen) in spoilt {
            let (_dir, mut writer, spool) = spool(AMPLE);
            write(&mut writer, b"hello");
            assert_eq!(spool.damage(), None);
            spoil(spool.path());
            assert_eq!(spool.damage(), seen);
            write(&mut writer, b" again");
            assert_eq!(spool.damage(), seen, "what is written afterwards hides nothing");
            writer.finish();
            assert_eq!(spool.damage(), seen);
            spool.remove();
            assert_eq!(spool.damage(), None, "the agent may");
        }
    }

    #[tokio::test]
    async fn what_an_earlier_process_left_is_read_to_its_end() {
        let (dir, mut writer, spool) = spool(AMPLE);
        write(&mut writer, b"hello");
        let left = left(spool.path().to_owned(), AMPLE);
        assert_eq!(left.progress(), Progress { len: 5, ended: true, cut: false });
        assert_eq!(all(&left, 1).await, b"ello");
        let none = super::left(dir.path().join("none"), AMPLE);
        assert_eq!(none.progress(), Progress { len: 0, ended: true, cut: false });
        assert!(super::left(spool.path().to_owned(), Limits { bytes: 5, ..AMPLE }).progress().cut);
    }

    #[tokio::test]
    async fn what_exceeds_the_limit_is_cut_with_a_marker_and_the_end_is_kept() {
        let (_dir, mut writer, spool) = spool(Limits { bytes: 10, ..AMPLE });
        write(&mut writer, b"0123456789abc");
        for _ in 0..200 {
            write(&mut writer, &[b'x'; 1000]);
        }
        write(&mut writer, b"the end");
        writer.finish();
        let text = String::from_utf8(all(&spool, 0).await).unwrap_or_else(|e| panic!("{e}"));
        let marker = "0123456789\n[kiln: 134474 bytes of output were dropped here: the limit was reached]\nxxx";
        assert!(text.starts_with(marker), "{}", &text[..90]);
        assert!(text.ends_with("xxxthe end"));
        assert!(spool.progress().cut);
    }

    #[tokio::test]
    async fn a_full_disk_cuts() {
        let (_dir, mut writer, spool) = spool(Limits { disk_reserve_bytes: u64::MAX / 2, ..AMPLE });
        write(&mut writer, b"lost but for the tail");
        writer.finish();
        assert!(spool.progress().cut);
        assert!(all(&spool, 0).await.ends_with(b"lost but for the tail"));
    }
}
