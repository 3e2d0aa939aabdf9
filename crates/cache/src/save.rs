//! Saves an archive: first its bytes, then its key.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kiln_tls::Sha256;
use kiln_wire::agent::archive::Format;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UploadPart};

use crate::entry::{DATA, Entry, Name};
use crate::error::Error;
use crate::store::{Lookup, Store};

/// Bytes of an archive that are written at once. Ten thousand times that is more than an archive may have.
const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way.
const PARTS_AT_ONCE: usize = 4;

/// What is to be saved.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is found by.
    pub name: Name,
    /// The paths with which the archive is packed.
    pub paths: Vec<String>,
    /// How it is packed.
    pub format: Format,
    /// Whether it takes the place of what is kept under that name.
    pub replaces: bool,
}

/// How saving ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is kept, with so many bytes.
    Saved {
        /// Length of the archive.
        bytes: u64,
    },
    /// Something was kept under that name already, and stays.
    Kept,
}

/// An archive that is being saved. Dropping it saves nothing.
pub struct Saving {
    store: Store,
    wanted: Wanted,
    path: Path,
    upload: Box<dyn MultipartUpload>,
    parts: FuturesUnordered<UploadPart>,
    part: BytesMut,
    bytes: u64,
    sum: Sha256,
}

impl Store {
    /// Begins to save an archive.
    ///
    /// # Errors
    /// When the store takes none.
    pub async fn save(&self, wanted: Wanted) -> Result<Saving, Error> {
        let path = Path::from(format!("{DATA}/{}", uuid::Uuid::now_v7().simple()));
        let upload = self.objects.put_multipart(&path).await.map_err(self.failed("begin to save a cache"))?;
        let (parts, part, sum) = (FuturesUnordered::new(), BytesMut::new(), Sha256::default());
        Ok(Saving { store: self.clone(), wanted, path, upload, parts, part, bytes: 0, sum })
    }
}

impl Saving {
    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    /// When the store cannot write them, or there are too many. The archive is to be given up then.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.store.limit_bytes {
            return Err(Error::TooLarge { limit_bytes: self.store.limit_bytes });
        }
        self.sum.update(bytes);
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES {
            let part = std::mem::replace(&mut self.part, BytesMut::with_capacity(PART_BYTES)).freeze();
            self.parts.push(self.upload.put_part(PutPayload::from(part)));
            self.written(PARTS_AT_ONCE).await?;
        }
        Ok(())
    }

    /// Waits until at most so many parts are on their way.
    async fn written(&mut self, most: usize) -> Result<(), Error> {
        while self.parts.len() > most {
            let Some(part) = self.parts.next().await else { break };
            part.map_err(self.store.failed("write a part of a cache"))?;
        }
        Ok(())
    }

    /// Ends the archive, and lets it be found.
    ///
    /// # Errors
    /// When the store cannot do that. Nothing is saved then.
    pub async fn finish(mut self) -> Result<Saved, Error> {
        match self.complete().await {
            Ok(()) => {
                let Self { store, wanted, path, bytes, sum, .. } = self;
                store.publish(wanted, &path, bytes, sum.hex()).await
            }
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    async fn complete(&mut self) -> Result<(), Error> {
        let part = std::mem::take(&mut self.part).freeze();
        if !part.is_empty() || self.bytes == 0 {
            self.parts.push(self.upload.put_part(PutPayload::from(part)));
        }
        self.written(0).await?;
        self.upload.complete().await.map_err(self.store.failed("end a cache")).map(drop)
    }

    /// Saves nothing.
    pub async fn give_up(mut self) {
        self.parts.clear();
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(%error, "a part of a cache stays until the store is pruned");
        }
    }
}

impl Store {
    /// Writes the key of an archive that is there.
    pub(crate) async fn publish(
        &self,
        wanted: Wanted,
        path: &Path,
        bytes: u64,
        sha256: String,
    ) -> Result<Saved, Error> {
        let Wanted { name, paths, format, replaces } = wanted;
        let at = name.path();
        let (before, is_broken) = match self.find(&name).await? {
            Lookup::Hit(before) => (Some(before), false),
            Lookup::Miss => (None, false),
            Lookup::Broken(_) => (None, true),
        };
        let entry = Entry::new(name, paths, format, path, bytes, sha256);
        let json = serde_json::to_vec(&entry)
            .map_err(|error| object_store::Error::Generic { store: "cache", source: error.into() });
        let json = json.map_err(self.failed("write a key"))?;
        let mode = if replaces || is_broken { PutMode::Overwrite } else { PutMode::Create };
        let put = self.objects.put_opts(&at, PutPayload::from(json), PutOptions::from(mode)).await;
        match put {
            Ok(_) => {
                // Whoever reads it still has it open, or looks for the key again.
                if let Some(before) = before {
                    self.delete(&before.data()).await?;
                }
                Ok(Saved::Saved { bytes })
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                self.delete(path).await?;
                Ok(Saved::Kept)
            }
            Err(error) => Err(self.failed("write a key")(error)),
        }
    }
}
