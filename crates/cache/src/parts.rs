//! Writes an object part by part. It is there once it is whole.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, Result, UploadPart};

use crate::store::{Kind, Store};

/// Bytes of a part. All but the last one have as many, which some stores ask for. There may be ten thousand parts, which are more than
/// an instance packs.
pub(crate) const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way.
const PARTS_AT_ONCE: usize = 4;

/// An object that is being written.
pub(crate) struct Parts {
    /// None once it ended, well or not.
    upload: Option<Box<dyn MultipartUpload>>,
    /// Whether the store removes by itself what is dropped.
    cleans_up: bool,
    on_their_way: FuturesUnordered<UploadPart>,
    part: BytesMut,
    has_parts: bool,
}

impl Parts {
    /// Begins an object.
    pub(crate) async fn begin(store: &Store, path: &Path) -> Result<Self> {
        let upload = Some(store.objects.put_multipart(path).await?);
        let cleans_up = match store.kind {
            Kind::Directory(_) => true,
            Kind::S3(_) => false,
        };
        let (on_their_way, part) = (FuturesUnordered::new(), BytesMut::new());
        Ok(Self { upload, cleans_up, on_their_way, part, has_parts: false })
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: &Bytes) -> Result<()> {
        let mut bytes = bytes.clone();
        while self.part.len() + bytes.len() >= PART_BYTES {
            let rest = bytes.split_off(PART_BYTES - self.part.len());
            self.part.extend_from_slice(&bytes);
            self.send();
            self.sent(PARTS_AT_ONCE).await?;
            bytes = rest;
        }
        self.part.extend_from_slice(&bytes);
        Ok(())
    }

    /// Sends what was collected.
    fn send(&mut self) {
        let part = std::mem::take(&mut self.part).freeze();
        self.has_parts = true;
        if let Some(upload) = &mut self.upload {
            self.on_their_way.push(upload.put_part(PutPayload::from(part)));
        }
    }

    /// Waits until at most so many parts are on their way.
    async fn sent(&mut self, most: usize) -> Result<()> {
        while self.on_their_way.len() > most {
            let Some(part) = self.on_their_way.next().await else { break };
            part?;
        }
        Ok(())
    }

    /// Ends the object. What cannot be ended is given up.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let done = self.complete().await;
        self.give_up().await;
        done
    }

    async fn complete(&mut self) -> Result<()> {
        // An object without bytes has one part as well.
        if !self.part.is_empty() || !self.has_parts {
            self.send();
        }
        self.sent(0).await?;
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
        }
        self.upload = None;
        Ok(())
    }

    /// Writes nothing, unless it has ended already.
    pub(crate) async fn give_up(mut self) {
        self.on_their_way.clear();
        if let Some(upload) = self.upload.take() {
            abort(upload).await;
        }
    }
}

impl Drop for Parts {
    /// A bucket would keep the parts of what was cancelled for good.
    fn drop(&mut self) {
        let upload = self.upload.take().filter(|_| !self.cleans_up);
        if let (Some(upload), Ok(runtime)) = (upload, tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        tracing::debug!(%error, "a part of an object stays in the store");
    }
}
