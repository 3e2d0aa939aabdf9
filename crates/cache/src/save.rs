//! Saves an archive: first its bytes, then its key.

use bytes::Bytes;
use kiln_tls::Sha256;
use kiln_wire::agent::archive::Format;
use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload};

use crate::entry::{DATA, Entry, Name};
use crate::error::Error;
use crate::parts::Parts;
use crate::store::{Lookup, Store};

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
    parts: Parts,
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
        let parts = Parts::begin(self, &path).await.map_err(self.failed("begin to save a cache"))?;
        Ok(Saving { store: self.clone(), wanted, path, parts, bytes: 0, sum: Sha256::default() })
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
        self.parts.write(bytes).await.map_err(self.store.failed("write a part of a cache"))
    }

    /// Ends the archive, and lets it be found.
    ///
    /// # Errors
    /// When the store cannot do that. Nothing is saved then.
    pub async fn finish(self) -> Result<Saved, Error> {
        let Self { store, wanted, path, parts, bytes, sum } = self;
        parts.finish().await.map_err(store.failed("end a cache"))?;
        store.publish(wanted, &path, bytes, sum.hex()).await
    }

    /// Saves nothing.
    pub async fn give_up(self) {
        self.parts.give_up().await;
    }
}

impl Store {
    /// Writes the key of an archive that is there.
    async fn publish(&self, wanted: Wanted, path: &Path, bytes: u64, sha256: String) -> Result<Saved, Error> {
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
                // It may be this very key, whose writing was answered too late and tried again.
                if matches!(self.entry_at(&at).await?, Lookup::Hit(entry) if entry.data() == *path) {
                    return Ok(Saved::Saved { bytes });
                }
                self.delete(path).await?;
                Ok(Saved::Kept)
            }
            Err(error) => {
                if let Err(error) = self.delete(path).await {
                    tracing::debug!(%error, "an archive without a key stays until the store is pruned");
                }
                Err(self.failed("write a key")(error))
            }
        }
    }
}
