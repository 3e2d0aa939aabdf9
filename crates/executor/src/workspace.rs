//! The working tree as a compressed stream: what git would carry, plus what is not committed yet.
//!
//! `.gitignore` files are obeyed, because build products of this machine do not belong on another; `.git` itself goes
//! along, because builds ask it for versions. The tree is read by a thread of its own and at most a few chunks are in
//! memory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use tokio::sync::mpsc;

/// Bytes per chunk of the stream.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the network at most.
const CHUNKS_WAITING: usize = 8;
/// Fast rather than small: the stream crosses the loopback or one data centre.
const ZSTD_LEVEL: i32 = 1;

/// Packs the tree below `root` as tar, compressed with zstd.
#[must_use]
pub fn pack(root: &Path) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut out = Chunks { sender: sender.clone(), buffer: Vec::with_capacity(CHUNK_BYTES) };
        if let Err(error) = write_tree(&root, &mut out).and_then(|()| out.flush()) {
            // Nobody listens any more when this fails, which is why the write failed too.
            drop(sender.blocking_send(Err(error)));
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|chunk| (chunk, r)) }))
}

fn write_tree(root: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(out, ZSTD_LEVEL)?);
    tar.follow_symlinks(false);
    tar.sparse(false);
    for (path, name) in entries(root)? {
        match tar.append_path_with_name(&path, &name) {
            // A file that went away, a socket, a device: not part of the sources.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::Other) => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("could not pack {}: {e}", path.display()))),
            Ok(()) => {}
        }
    }
    tar.into_inner()?.finish()?.flush()
}

/// The files to send and their names in the archive, directories before what is in them.
fn entries(root: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let keep_git = OverrideBuilder::new(root).build().map_err(io::Error::other)?;
    let walk = WalkBuilder::new(root).hidden(false).git_global(false).require_git(false).overrides(keep_git).build();
    for entry in walk {
        let entry = entry.map_err(io::Error::other)?;
        let Ok(name) = entry.path().strip_prefix(root) else { continue };
        if name.as_os_str().is_empty() {
            continue;
        }
        let plain = entry.file_type().is_some_and(|t| t.is_file() || t.is_dir() || t.is_symlink());
        if plain {
            found.push((entry.path().to_owned(), name.to_owned()));
        }
    }
    Ok(found)
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

/// A tree without anything in it: the directory is made, nothing is put there.
#[must_use]
pub fn empty() -> BoxStream<'static, io::Result<Bytes>> {
    let packed = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)
        .and_then(|encoder| tar::Builder::new(encoder).into_inner()?.finish())
        .map(Bytes::from);
    Box::pin(futures::stream::iter([packed]))
}
