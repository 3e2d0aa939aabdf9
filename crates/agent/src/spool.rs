//! A step's output on disk: written once, read from any offset by any number of readers.
//!
//! The writer never waits for a reader. When the limit is reached, or the disk runs short, what follows is dropped
//! but for the last part, which is kept in a ring and written at the end behind a marker that says how much is
//! missing: the end of a log is where the error is.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_mask::Settled;
use tokio::sync::watch;

use crate::os::files;

/// Bytes of the end that are kept when output is cut.
const TAIL_BYTES: usize = 64 * 1024;
/// How many bytes are written between two looks at the free disk space.
const DISK_CHECK_BYTES: u64 = 32 << 20;

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
    progress: watch::Receiver<Progress>,
}

/// Limits of a spool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes kept.
    pub bytes: u64,
    /// Free disk space that is left alone.
    pub disk_reserve_bytes: u64,
}

/// The one writer of a spool.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    limits: Limits,
    until_disk_check: u64,
    dropped: u64,
    tail: VecDeque<u8>,
    state: Progress,
    progress: watch::Sender<Progress>,
}

/// Creates the spool file; one of that name is overwritten.
pub fn create(path: PathBuf, limits: Limits) -> io::Result<(Writer, Arc<Spool>)> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = files::create_private(&path)?;
    let (sender, progress) = watch::channel(Progress::default());
    let spool = Arc::new(Spool { path: path.clone(), progress });
    let state = Progress::default();
    let writer =
        Writer { file, path, limits, until_disk_check: 0, dropped: 0, tail: VecDeque::new(), state, progress: sender };
    Ok((writer, spool))
}

impl Writer {
    /// Adds output. Never fails: when it cannot be kept it is dropped, and the spool says so.
    pub fn write(&mut self, settled: Settled<'_>) {
        let mut bytes = &*settled;
        if !self.state.cut {
            let room = self.room(bytes.len() as u64).min(bytes.len() as u64) as usize;
            let (fits, over) = bytes.split_at(room);
            match self.append(fits) {
                Ok(()) => bytes = over,
                Err(error) => tracing::warn!(path = %self.path.display(), %error, "output is dropped: cannot write it"),
            }
            self.state.cut = !bytes.is_empty();
        }
        if !bytes.is_empty() {
            self.drop_but_keep_tail(bytes);
        }
        self.progress.send_replace(self.state);
    }

    /// Says that no more will come.
    pub fn finish(mut self) {
        self.state.ended = true;
        if self.state.cut {
            let tail: Vec<u8> = self.tail.iter().copied().collect();
            let missing = self.dropped - tail.len() as u64;
            let marker = format!("\n[kiln: {missing} bytes of output were dropped here: the limit was reached]\n");
            // The reserve is there for this; if even that fails, the cut flag still tells the reader.
            let written = self.append(marker.as_bytes()).and_then(|()| self.append(&tail));
            if let Err(error) = written {
                tracing::warn!(path = %self.path.display(), %error, "cannot write the end of the output");
            }
        }
        self.progress.send_replace(self.state);
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.state.len += bytes.len() as u64;
        Ok(())
    }

    fn room(&mut self, wanted: u64) -> u64 {
        if self.until_disk_check < wanted {
            self.until_disk_check = DISK_CHECK_BYTES.max(wanted);
            let free = files::free_bytes(&self.path).unwrap_or(u64::MAX);
            if free < self.limits.disk_reserve_bytes.saturating_add(DISK_CHECK_BYTES) {
                return 0;
            }
        }
        self.until_disk_check -= wanted;
        self.limits.bytes.saturating_sub(self.state.len)
    }

    fn drop_but_keep_tail(&mut self, bytes: &[u8]) {
        self.dropped += bytes.len() as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let over = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
    }
}

impl Spool {
    /// How far it is now.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Opens it for reading. An open reader goes on even when the spool is removed.
    pub fn reader(&self) -> io::Result<Reader> {
        Ok(Reader { file: Arc::new(File::open(&self.path)?), progress: self.progress.clone() })
    }

    /// Removes the file.
    pub fn remove(&self) {
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
        let file = self.file.clone();
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

    const AMPLE: Limits = Limits { bytes: 1 << 30, disk_reserve_bytes: 0 };

    fn spool(limits: Limits) -> (tempfile::TempDir, Writer, Arc<Spool>) {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let (writer, spool) = create(dir.path().join("a/b.out"), limits).unwrap_or_else(|e| panic!("{e}"));
        (dir, writer, spool)
    }

    /// Writes what a masker without secrets lets through, which is all.
    fn write(writer: &mut Writer, bytes: &[u8]) {
        Masker::new(Arc::default()).push(bytes, |settled| writer.write(settled));
    }

    async fn all(spool: &Spool, mut offset: u64) -> Vec<u8> {
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
    async fn what_exceeds_the_limit_is_cut_with_a_marker_and_the_end_is_kept() {
        let (_dir, mut writer, spool) = spool(Limits { bytes: 10, ..AMPLE });
        write(&mut writer, b"0123456789abc");
        for _ in 0..200 {
            write(&mut writer, &[b'x'; 1000]);
        }
        write(&mut writer, b"the end");
        writer.finish();
        let text = String::from_utf8(all(&spool, 0).await).unwrap_or_else(|e| panic!("{e}"));
        assert!(text.starts_with("0123456789\n[kiln: 134474 bytes of output were dropped here"), "{}", &text[..90]);
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
