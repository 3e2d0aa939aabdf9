//! A tree as tar, compressed with zstd. It is read by a thread of its own, and at most a few chunks are in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

/// Bytes per chunk of the stream.
const CHUNK_BYTES: usize = 64 << 10;
/// Greatest number of chunks that wait for the network.
const CHUNKS_WAITING: usize = 8;
/// Fast rather than small: the stream crosses the loopback or one data centre.
const ZSTD_LEVEL: i32 = 1;

/// What is sent under a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A file, directory or symbolic link of this machine, as it is.
    Disk(PathBuf),
    /// This text, in place of a file of this machine.
    Text {
        /// The text.
        bytes: Vec<u8>,
        /// The file, whose owner, mode and time it gets.
        like: PathBuf,
    },
}

/// Entries by their names in the archive. A directory stands before what is in it.
pub(super) type Entries = BTreeMap<PathBuf, Source>;

/// Packs entries.
pub(super) fn pack(entries: Entries) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = Chunks { sender: sender.clone(), buffer: Vec::with_capacity(CHUNK_BYTES) };
        if let Err(error) = write(&entries, &mut out).and_then(|()| out.flush()) {
            // Nobody listens any more when this fails, which is why the write failed too.
            drop(sender.blocking_send(Err(error)));
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|chunk| (chunk, r)) }))
}

/// Writes entries as an archive.
pub(super) fn write(entries: &Entries, out: &mut impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(out, ZSTD_LEVEL)?);
    tar.follow_symlinks(false);
    tar.sparse(false);
    for (name, source) in entries {
        append(&mut tar, name, source)
            .map_err(|e| io::Error::new(e.kind(), format!("could not pack {}: {e}", name.display())))?;
    }
    tar.into_inner()?.finish()?.flush()
}

fn append(tar: &mut tar::Builder<impl Write>, name: &Path, source: &Source) -> io::Result<()> {
    match source {
        Source::Disk(path) => append_file(tar, name, path),
        Source::Text { bytes, like } => {
            let mut header = tar::Header::new_gnu();
            header.set_metadata(&std::fs::metadata(like)?);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_slice())
        }
    }
}

/// Adds a file. One that went away meanwhile is left out; one that grows or shrinks while it is read, such as the log of
/// this very run, has the length it had at first, so that what follows it stays readable.
fn append_file(tar: &mut tar::Builder<impl Write>, name: &Path, path: &Path) -> io::Result<()> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if gone(&error) => return Ok(()),
        found => found?,
    };
    if !found.is_file() {
        // Of what is neither, such as a socket, only the name could be sent.
        if !found.is_dir() && !found.is_symlink() {
            return Ok(());
        }
        return tar.append_path_with_name(path, name);
    }
    let file = match File::open(path) {
        Err(error) if gone(&error) => return Ok(()),
        file => file?,
    };
    let metadata = file.metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    tar.append_data(&mut header, name, exactly(file, metadata.len()))
}

/// Returns the first `len` bytes of a reader, with zeros in place of those that it does not have.
fn exactly(reader: impl Read, len: u64) -> impl Read {
    reader.chain(io::repeat(0)).take(len)
}

struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Returns an empty tree. The directory is made, and nothing is put there.
#[must_use]
pub fn empty() -> BoxStream<'static, io::Result<Bytes>> {
    let mut packed = Vec::new();
    let written = write(&Entries::new(), &mut packed).map(|()| Bytes::from(packed));
    Box::pin(futures::stream::iter([written]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_keeps_its_first_length() {
        let check = |text: &str, len: u64, expect: &[u8]| {
            let mut got = Vec::new();
            exactly(text.as_bytes(), len).read_to_end(&mut got).unwrap();
            assert_eq!(got, expect);
        };
        check("grown", 3, b"gro");
        check("cut", 5, b"cut\0\0");
        check("", 0, b"");
    }
}
