//! Uploads files of an instance.

use std::io::{self, Read};
use std::path::Component;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kiln_agent_client::AgentError;
use kiln_cache::Store;
use kiln_wire::agent::kiln::FilesRequest;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::keeper::{Keeper, Progress, size, time};
use crate::wait::Reason;

/// Bytes of a file that are passed on at once, and how many such pieces wait.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 8;
/// What is said while files are uploaded.
const UPLOADING: &str = "the files to be uploaded";

/// What comes out of the archive of the files.
enum Piece {
    /// A file begins, with these names below the base.
    File(Vec<String>),
    Bytes(Bytes),
}

impl Keeper<'_> {
    /// Uploads the files that a path or glob names, under the names that they have below the base, without a prefix.
    ///
    /// # Errors
    /// Also when there are no such files.
    pub(super) async fn upload(
        &self,
        store: &Store,
        source: &str,
        folders: &[&str],
        strip: &str,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let reason = Reason::new(UPLOADING);
        let (files, bytes) = self.wait(&reason, self.pass_on(store, source, folders, strip, &reason)).await?;
        if files == 0 {
            return Err(Failure::Nothing(format!("there is nothing to upload: no file is at {source}")));
        }
        let to = store.uploaded_to(&folders.join("/"));
        (self.say)(format!("uploaded {files} files, {}, in {}: {to}", size(bytes), time(began.elapsed())));
        Ok(())
    }

    async fn pass_on(
        &self,
        store: &Store,
        source: &str,
        folders: &[&str],
        strip: &str,
        reason: &Reason,
    ) -> Result<(u64, u64), Failure> {
        // The agent breaks off behind its limit, which looks as if the connection had.
        const MAX_BYTES: u64 = 1 << 40;
        let request = FilesRequest { base: self.base.to_owned(), paths: vec![source.to_owned()], max_bytes: MAX_BYTES };
        let (lost, mut losses) = mpsc::channel::<AgentError>(1);
        let packed = self.agent.files(&request).await?.map_err(move |error| {
            let told = io::Error::other(error.to_string());
            // Only the first one counts.
            drop(lost.try_send(error));
            told
        });
        let (chunks, mut packed) = blocking(packed);
        let (pieces, mut unpacked) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || unpack(&mut packed, &pieces));
        // It ends with the stream, or when nobody reads any more.
        let carrying = tokio::spawn(chunks);
        let (mut upload, mut files, mut bytes) = (None, 0, 0);
        let mut progress = Progress::new(reason, UPLOADING.to_owned());
        while let Some(piece) = unpacked.recv().await {
            match piece {
                Piece::File(names) => {
                    if let Some(before) = upload.take() {
                        end(before).await?;
                    }
                    files += 1;
                    let names = below(&names, strip);
                    let folders = folders.iter().flat_map(|folder| folder.split('/'));
                    upload = Some(store.upload(folders.chain(names.iter().map(String::as_str))));
                }
                Piece::Bytes(piece) => {
                    bytes += piece.len() as u64;
                    progress.add(piece.len());
                    // Bytes follow their file.
                    if let Some(upload) = &mut upload {
                        upload.write(&piece).await?;
                    }
                }
            }
        }
        carrying.abort();
        let read = reading.await.map_err(|error| Failure::Nothing(error.to_string()))?;
        if let Err(error) = read {
            let broken = |_| Failure::Nothing(format!("the files could not be unpacked: {error}"));
            return Err(losses.try_recv().map_or_else(broken, Failure::Agent));
        }
        if let Some(last) = upload {
            end(last).await?;
        }
        Ok((files, bytes))
    }
}

/// Returns what carries a stream to a reader that blocks, and the reader.
fn blocking(
    mut stream: impl Stream<Item = io::Result<Bytes>> + Send + Unpin,
) -> (impl Future<Output = ()> + Send, Chunks) {
    let (to, chunks) = mpsc::channel(PIECES);
    let carry = async move {
        while let Some(chunk) = stream.next().await {
            if to.send(chunk).await.is_err() {
                return;
            }
        }
    };
    (carry, Chunks { chunks, rest: Bytes::new() })
}

/// Reads chunks on a thread that may block.
struct Chunks {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let read = to.len().min(self.rest.len());
        to[..read].copy_from_slice(&self.rest.split_to(read));
        Ok(read)
    }
}

async fn end(upload: kiln_cache::Upload) -> Result<(), Failure> {
    Ok(upload.finish().await?)
}

/// Returns the names of a file without a prefix.
fn below(names: &[String], strip: &str) -> Vec<String> {
    let prefix: Vec<&str> = strip.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let has_prefix = names.len() > prefix.len() && prefix.iter().zip(names).all(|(prefix, name)| prefix == name);
    names[if has_prefix { prefix.len() } else { 0 }..].to_vec()
}

/// Reads an archive, and passes its files on.
fn unpack(packed: impl Read, to: &mpsc::Sender<Piece>) -> io::Result<()> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        // What comes out of an instance is nothing to rely on.
        let names: Option<Vec<String>> = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| match part {
                Component::Normal(name) => name.to_str().map(str::to_owned),
                _ => None,
            })
            .collect();
        let names = names.filter(|names| !names.is_empty());
        let outside = || io::Error::other(format!("{} is no name of a file", path.display()));
        let gone = |_| io::ErrorKind::BrokenPipe;
        to.blocking_send(Piece::File(names.ok_or_else(outside)?)).map_err(gone)?;
        loop {
            let mut piece = BytesMut::zeroed(PIECE_BYTES);
            let read = entry.read(&mut piece)?;
            if read == 0 {
                break;
            }
            piece.truncate(read);
            to.blocking_send(Piece::Bytes(piece.freeze())).map_err(gone)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_left_out_of_names_where_they_have_it() {
        let of =
            |path: &str, strip: &str| below(&path.split('/').map(str::to_owned).collect::<Vec<_>>(), strip).join("/");
        assert_eq!(of("target/app.jar", "target/"), "app.jar");
        assert_eq!(of("target/a/app.jar", "/target/a"), "app.jar");
        assert_eq!(of("target/app.jar", "targ"), "target/app.jar");
        assert_eq!(of("target", "target"), "target");
        assert_eq!(of("a/b", ""), "a/b");
    }
}
