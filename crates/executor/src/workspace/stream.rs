//! A tree as tar in zstd. It is read by a thread of its own, and at most a few chunks are in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::frames::Frames;

/// Greatest number of chunks that wait for the network.
const CHUNKS_WAITING: usize = 8;
/// Bytes whose multiples the contents of a tar archive are.
const TAR_BLOCK_BYTES: u64 = 512;

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
        let send = |chunk: Vec<u8>| {
            // Nobody listens any more.
            sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
        };
        if let Err(error) = write(&entries, send) {
            // Nobody listens any more when this fails, which is why the write failed too.
            drop(sender.blocking_send(Err(error)));
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|chunk| (chunk, r)) }))
}

/// Hands entries over as an archive, in chunks.
pub(super) fn write(entries: &Entries, out: impl FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut tar = tar::Builder::new(Frames::new(out)?);
    tar.follow_symlinks(false);
    tar.sparse(false);
    for (name, source) in entries {
        append(&mut tar, name, source)
            .map_err(|e| io::Error::new(e.kind(), format!("could not pack {}: {e}", name.display())))?;
    }
    tar.into_inner()?.finish()
}

type Archive<F> = tar::Builder<Frames<F>>;

fn append<F: FnMut(Vec<u8>) -> io::Result<()>>(tar: &mut Archive<F>, name: &Path, source: &Source) -> io::Result<()> {
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
fn append_file<F: FnMut(Vec<u8>) -> io::Result<()>>(tar: &mut Archive<F>, name: &Path, path: &Path) -> io::Result<()> {
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
    let mut file = match File::open(path) {
        Err(error) if gone(&error) => return Ok(()),
        file => file?,
    };
    let metadata = file.metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    // The content is read to where it is sent from, without a buffer in between.
    tar.append_data(&mut header, name, io::empty())?;
    let length = metadata.len();
    tar.get_mut().read(&mut file, length)?;
    tar.get_mut().read(&mut io::empty(), length.next_multiple_of(TAR_BLOCK_BYTES) - length)
}

/// Returns an empty tree. The directory is made, and nothing is put there.
#[must_use]
pub fn empty() -> BoxStream<'static, io::Result<Bytes>> {
    let mut packed = Vec::new();
    let written = write(&Entries::new(), |chunk| {
        packed.extend(chunk);
        Ok(())
    });
    Box::pin(futures::stream::iter([written.map(|()| Bytes::from(packed))]))
}
