//! Links to a bucket that the holder of its keys signs, so that an instance can put an archive there, or take it from there, without any
//! key.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer as _};

use crate::entry::{DATA, Entry};
use crate::error::Error;
use crate::save::{Saved, Wanted};
use crate::store::{Kind, Store};

/// How long a link can be used.
const LINK_LASTS: Duration = Duration::from_secs(6 * 3600);
/// Bytes that are put to one link. Some stores want all parts but the last to have one size.
pub const LINK_PART_BYTES: u64 = 64 << 20;
/// Most links of an archive. An instance is told all of them.
const LINKS_MOST: u64 = 1024;

/// A bucket that links can be made to.
#[derive(Debug, Clone)]
pub(crate) struct Linked {
    pub(crate) bucket: Arc<AmazonS3>,
    /// What names in it begin with.
    pub(crate) prefix: Path,
}

impl Linked {
    fn path(&self, name: &Path) -> Path {
        self.prefix.parts().chain(name.parts()).collect()
    }
}

/// An archive that an instance puts to links.
pub struct Linking {
    store: Store,
    linked: Linked,
    wanted: Wanted,
    name: Path,
    id: String,
    /// Where its parts of [`LINK_PART_BYTES`] are put, in their order.
    pub links: Vec<String>,
}

/// What an instance put to links.
#[derive(Debug, Clone, Default)]
pub struct Put {
    /// What the store called each part.
    pub tags: Vec<String>,
    /// Length of the archive in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Store {
    /// Returns whether instances are given links, and the archives do not pass through this process.
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.linked().is_some()
    }

    fn linked(&self) -> Option<&Linked> {
        match &self.kind {
            Kind::Directory(_) => None,
            Kind::S3(linked) => linked.as_ref(),
        }
    }

    /// Returns a link with which an archive can be fetched, if the store has links.
    ///
    /// # Errors
    /// When there are no credentials.
    pub async fn link(&self, entry: &Entry) -> Result<Option<String>, Error> {
        let Some(linked) = self.linked() else { return Ok(None) };
        let signed = linked.bucket.signed_url(Method::GET, &linked.path(&entry.data()), LINK_LASTS).await;
        signed.map(|link| Some(link.into())).map_err(self.failed("sign a link"))
    }

    /// Begins an archive that is put to links, if the store has links.
    ///
    /// # Errors
    /// When the store takes none.
    pub async fn save_by_links(&self, wanted: Wanted) -> Result<Option<Linking>, Error> {
        let Some(linked) = self.linked().cloned() else { return Ok(None) };
        let name = Path::from(format!("{DATA}/{}", uuid::Uuid::now_v7().simple()));
        let path = linked.path(&name);
        let id = linked.bucket.create_multipart(&path).await.map_err(self.failed("begin to save a cache"))?;
        let mut links = Vec::new();
        for part in 1..=self.limit_bytes.div_ceil(LINK_PART_BYTES).clamp(1, LINKS_MOST) {
            let query = [("partNumber", part.to_string()), ("uploadId", id.clone())];
            let options = SignedUrlOptions::default().with_query(query);
            let signed = linked.bucket.signed_url_opts(Method::PUT, &path, LINK_LASTS, &options).await;
            links.push(signed.map_err(self.failed("sign a link"))?.into());
        }
        Ok(Some(Linking { store: self.clone(), linked, wanted, name, id, links }))
    }
}

impl Linking {
    /// Ends the archive, and lets it be found.
    ///
    /// # Errors
    /// When the store cannot do that. Nothing is saved then.
    pub async fn finish(self, put: Put) -> Result<Saved, Error> {
        let Put { tags, bytes, sha256 } = put;
        let parts = tags.into_iter().map(|content_id| PartId { content_id }).collect();
        let completed = self.linked.bucket.complete_multipart(&self.linked.path(&self.name), &self.id, parts).await;
        if let Err(error) = completed {
            let error = self.store.failed("end a cache")(error);
            self.give_up().await;
            return Err(error);
        }
        self.store.publish(self.wanted, &self.name, bytes, sha256).await
    }

    /// Saves nothing.
    pub async fn give_up(self) {
        let aborted = self.linked.bucket.abort_multipart(&self.linked.path(&self.name), &self.id).await;
        if let Err(error) = aborted {
            tracing::debug!(%error, "a part of a cache stays in the bucket");
        }
    }
}
