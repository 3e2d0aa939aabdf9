//! The working tree as a compressed stream: what git would carry, plus what is not committed yet.
//!
//! `.gitignore` files are obeyed, because build products of this machine do not belong on another; `.git` itself goes
//! along, because builds ask it for versions. The tree is read by a thread of its own and at most a few chunks are in
//! memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use tokio::sync::mpsc;

/// Bytes per chunk of the stream.
const CHUNK_BYTES: usize = 64 << 10;
/// Greatest number of chunks that wait for the network.
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
        append(&mut tar, &path, &name)
            .map_err(|e| io::Error::new(e.kind(), format!("could not pack {}: {e}", path.display())))?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// Adds one entry. A file that went away meanwhile is left out; one that grows or shrinks while it is read, such as
/// the log of this very run, has the length it had at first, so that what follows it stays readable.
fn append(tar: &mut tar::Builder<impl Write>, path: &Path, name: &Path) -> io::Result<()> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if gone(&error) => return Ok(()),
        found => found?,
    };
    if !found.is_file() {
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

/// Returns the files to send with their names in the archive, directories before what is in them.
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

/// Returns an empty tree. The directory is made, and nothing is put there.
#[must_use]
pub fn empty() -> BoxStream<'static, io::Result<Bytes>> {
    let packed = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)
        .and_then(|encoder| tar::Builder::new(encoder).into_inner()?.finish())
        .map(Bytes::from);
    Box::pin(futures::stream::iter([packed]))
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

    #[test]
    fn the_tree_is_packed_without_what_git_ignores() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("src/deep")).unwrap();
        for (name, text) in [(".gitignore", "*.o\n"), ("src/a.c", "int a;"), ("src/a.o", "x"), ("src/deep/b", "")] {
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink("a.c", at("src/link")).unwrap();
        let mut packed = Vec::new();
        write_tree(dir.path(), &mut packed).unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_slice()).unwrap());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            names.push(format!("{} {text}", entry.path().unwrap().display()).trim().to_owned());
        }
        names.sort();
        assert_eq!(names, [".gitignore *.o", "src", "src/a.c int a;", "src/deep", "src/deep/b", "src/link"]);
    }
}
