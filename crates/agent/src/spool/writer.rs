//! The writer of a spool.

use std::collections::VecDeque;
use std::io::ErrorKind;

use kiln_mask::Settled;
use tokio::sync::watch;

use super::Progress;
use super::disk::Disk;

/// Bytes of the end that are kept when output is cut.
const TAIL_BYTES: usize = 64 * 1024;
/// Room for the end and the marker before it.
const END_BYTES: u64 = TAIL_BYTES as u64 + 256;
/// At most so many bytes are set aside beyond those that are needed.
const RESERVE_BYTES: u64 = 1 << 20;
/// How many bytes are written between two looks at the free disk space.
const DISK_CHECK_BYTES: u64 = 32 << 20;

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
    disk: Box<dyn Disk>,
    limits: Limits,
    until_disk_check: u64,
    /// Up to where the disk has room for sure. Where room cannot be set aside, none is known of.
    reserved_to: Option<u64>,
    /// Why output is dropped.
    cut: Option<&'static str>,
    dropped: u64,
    tail: VecDeque<u8>,
    state: Progress,
    progress: watch::Sender<Progress>,
}

impl Writer {
    pub(super) fn new(disk: Box<dyn Disk>, limits: Limits, progress: watch::Sender<Progress>) -> Self {
        Self {
            disk,
            limits,
            until_disk_check: 0,
            reserved_to: Some(0),
            cut: None,
            dropped: 0,
            tail: VecDeque::new(),
            state: Progress::default(),
            progress,
        }
    }

    /// Adds output. Never fails: when it cannot be kept it is dropped, and the spool says so.
    pub fn write(&mut self, settled: Settled<'_>) {
        let mut bytes = &*settled;
        if bytes.is_empty() {
            return;
        }
        if self.cut.is_none() {
            let within = self.limits.bytes.saturating_sub(self.state.len).min(bytes.len() as u64);
            if within < bytes.len() as u64 {
                self.cut = Some("the limit was reached");
            }
            if !self.has_room(within) {
                self.cut = Some("the disk is full");
            } else {
                let written = self.append(&bytes[..within as usize]);
                if (written as u64) < within {
                    self.cut = Some("the disk is full");
                }
                bytes = &bytes[written..];
            }
        }
        if !bytes.is_empty() {
            self.drop_but_keep_tail(bytes);
        }
        self.state.cut = self.cut.is_some();
        self.progress.send_replace(self.state);
    }

    /// Says that no more will come.
    pub fn finish(mut self) {
        self.state.ended = true;
        if let Some(why) = self.cut {
            let tail: Vec<u8> = self.tail.iter().copied().collect();
            let missing = self.dropped - tail.len() as u64;
            let bytes = if missing == 1 { "byte of output was" } else { "bytes of output were" };
            let end = [format!("\n[kiln: {missing} {bytes} dropped here: {why}]\n").as_bytes(), &tail].concat();
            // Room was set aside for this; if even that fails, the flag still tells the reader.
            self.append(&end);
        }
        if self.reserved_to.is_some_and(|to| to > self.state.len)
            && let Err(error) = self.disk.release(self.state.len)
        {
            tracing::debug!(%error, "room that was set aside for output is not given back");
        }
        self.progress.send_replace(self.state);
    }

    /// Writes as much as the disk takes, and returns how much that is. What it took counts, also where the rest failed.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.disk.write_at(&bytes[written..], self.state.len) {
                Ok(0) => break,
                Ok(more) => {
                    written += more;
                    self.state.len += more as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(disk = ?self.disk, %error, "output is dropped: cannot write it");
                    break;
                }
            }
        }
        written
    }

    /// Whether so many more bytes may be written, so that the end still fits behind them.
    fn has_room(&mut self, wanted: u64) -> bool {
        if self.until_disk_check < wanted {
            self.until_disk_check = DISK_CHECK_BYTES.max(wanted);
            let free = self.disk.free_bytes().unwrap_or(u64::MAX);
            if free < self.limits.disk_reserve_bytes.saturating_add(DISK_CHECK_BYTES) {
                self.reserve(self.state.len + END_BYTES);
                return false;
            }
        }
        self.until_disk_check -= wanted;
        self.reserve(self.state.len + wanted + END_BYTES)
    }

    /// Sets room aside up to an offset. False when the disk has none.
    fn reserve(&mut self, to: u64) -> bool {
        let Some(reserved) = self.reserved_to.filter(|reserved| *reserved < to) else { return true };
        // Ahead of the output, and not more than it has shown to need, so that a short one takes little.
        for ahead in [self.state.len.min(RESERVE_BYTES), 0] {
            match self.disk.reserve(reserved, to + ahead) {
                Ok(()) => {
                    self.reserved_to = Some(to + ahead);
                    return true;
                }
                Err(error) if is_full(error.kind()) => {}
                Err(error) => {
                    tracing::debug!(%error, "room for output cannot be set aside on this disk");
                    self.reserved_to = None;
                    return true;
                }
            }
        }
        tracing::warn!(disk = ?self.disk, reserved, "output is dropped: the disk is full");
        false
    }

    fn drop_but_keep_tail(&mut self, bytes: &[u8]) {
        self.dropped += bytes.len() as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let over = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
    }
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::tests::{AMPLE, all, write};
    use super::super::{Spool, disk};
    use super::*;
    use crate::os::files;

    /// A disk with little room, which others fill and empty too.
    #[derive(Debug)]
    struct Small {
        file: File,
        room: Arc<Mutex<u64>>,
        /// Bytes that have their place: written, or set aside.
        placed_to: u64,
        can_reserve: bool,
    }

    impl Disk for Small {
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            let mut room = self.room.lock().expect("a number");
            let fits = (self.placed_to + *room).saturating_sub(offset).min(bytes.len() as u64);
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            *room -= (offset + fits).saturating_sub(self.placed_to);
            self.placed_to = self.placed_to.max(offset + fits);
            files::write_at(&self.file, &bytes[..fits as usize], offset)
        }

        fn reserve(&mut self, _: u64, to: u64) -> io::Result<()> {
            if !self.can_reserve {
                return Err(ErrorKind::Unsupported.into());
            }
            let mut room = self.room.lock().expect("a number");
            *room = room.checked_sub(to.saturating_sub(self.placed_to)).ok_or(ErrorKind::StorageFull)?;
            self.placed_to = self.placed_to.max(to);
            Ok(())
        }

        fn release(&mut self, len: u64) -> io::Result<()> {
            *self.room.lock().expect("a number") += self.placed_to - len;
            self.placed_to = len;
            Ok(())
        }

        fn free_bytes(&self) -> Option<u64> {
            None
        }
    }

    struct Rig {
        _dir: tempfile::TempDir,
        room: Arc<Mutex<u64>>,
        writer: Writer,
        spool: Spool,
    }

    fn rig(room: u64, can_reserve: bool) -> Rig {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool");
        let file = File::create(&path).expect("a file");
        let room = Arc::new(Mutex::new(room));
        let (sender, progress) = watch::channel(Progress::default());
        let disk = Small { file, room: Arc::clone(&room), placed_to: 0, can_reserve };
        let spool = Spool { path, made: None, shortened: Arc::default(), removed: false.into(), progress };
        Rig { _dir: dir, room, writer: Writer::new(Box::new(disk), AMPLE, sender), spool }
    }

    const LINE: &[u8] = b"0123456789abcde\n";

    /// Checks that a spool holds lines from the first on, then says how many bytes are missing, then has the last ones.
    async fn check_cut(spool: &Spool, lines: usize, why: &str) {
        let progress = spool.progress();
        let text = String::from_utf8(all(spool, 0).await).expect("text");
        assert!(progress.cut && progress.ended);
        assert_eq!(progress.len, text.len() as u64);
        let (head, rest) = text.split_once("\n[kiln: ").unwrap_or_else(|| panic!("no marker in {} bytes", text.len()));
        let (missing, tail) =
            rest.split_once(&format!(" bytes of output were dropped here: {why}]\n")).expect("a marker");
        let missing: usize = missing.parse().expect("a number");
        assert_eq!(head.len() + missing + tail.len(), lines * LINE.len());
        let whole = LINE.repeat(lines);
        assert!(whole.starts_with(head.as_bytes()) && whole.ends_with(tail.as_bytes()));
        assert_eq!(tail.len(), TAIL_BYTES);
    }

    #[tokio::test]
    async fn a_disk_that_becomes_full_cuts_the_output_and_the_end_is_readable_behind_its_marker() {
        for room in [100_000, 130_001, 200_007] {
            let Rig { mut writer, spool, _dir, .. } = rig(room, true);
            (0..300).for_each(|_| write(&mut writer, &LINE.repeat(100)));
            writer.finish();
            check_cut(&spool, 30_000, "the disk is full").await;
        }
    }

    #[tokio::test]
    async fn a_disk_that_others_fill_leaves_the_room_for_the_end() {
        let Rig { mut writer, spool, room, _dir } = rig(1 << 30, true);
        (0..1000).for_each(|_| write(&mut writer, LINE));
        *room.lock().expect("a number") = 0;
        (0..5000).for_each(|_| write(&mut writer, LINE));
        writer.finish();
        check_cut(&spool, 6000, "the disk is full").await;
    }

    /// Where room cannot be set aside, a write may be cut in its middle. What it wrote counts, so that later bytes are where
    /// readers look for them.
    #[tokio::test]
    async fn a_write_that_is_cut_in_its_middle_leaves_every_byte_at_its_offset() {
        for room in [1, 7, 16, 1000, 33_333] {
            let Rig { mut writer, spool, room: free, _dir } = rig(room, false);
            (0..80).for_each(|_| write(&mut writer, &LINE.repeat(100)));
            assert_eq!(spool.progress().len, room);
            *free.lock().expect("a number") = 1 << 20;
            writer.finish();
            check_cut(&spool, 8000, "the disk is full").await;
        }
    }

    #[tokio::test]
    async fn a_disk_that_stays_full_leaves_the_beginning_readable() {
        let Rig { mut writer, spool, _dir, .. } = rig(1000, false);
        (0..80).for_each(|_| write(&mut writer, &LINE.repeat(100)));
        writer.finish();
        assert_eq!(all(&spool, 0).await, LINE.repeat(100)[..1000]);
        let progress = spool.progress();
        assert!(progress.cut && progress.ended && progress.len == 1000);
    }

    #[tokio::test]
    async fn what_is_set_aside_does_not_count_as_output_and_is_given_back() {
        let Rig { mut writer, spool, room, _dir } = rig(1 << 20, true);
        write(&mut writer, LINE);
        assert_eq!(spool.progress().len, LINE.len() as u64);
        writer.finish();
        assert_eq!(*room.lock().expect("a number"), (1 << 20) - LINE.len() as u64);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("real");
        let file = File::create(&path).expect("a file");
        let mut real = disk::Spooled { file, path: path.clone(), shortened: Arc::default() };
        real.write_at(LINE, 0).expect("a disk with room");
        // Not every disk can.
        drop(real.reserve(0, 1 << 20));
        assert_eq!(path.metadata().expect("a file").len(), LINE.len() as u64);
        real.release(LINE.len() as u64).expect("a file");
        assert_eq!(std::fs::read(&path).expect("a file"), LINE);
    }
}
