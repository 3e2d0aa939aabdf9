//! What steps upload: files under the names that they give, for people and other programs.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};

use crate::error::Error;
use crate::store::{Kind, Store};

/// Folder of what is uploaded.
const ARTIFACTS: &str = "artifacts";
/// Bytes of a file that are written at once.
const PART_BYTES: usize = 8 << 20;

/// A file that is being uploaded. It is there once it is whole.
pub struct Upload {
    store: Store,
    path: Path,
    /// None while the file has less than one part.
    upload: Option<Box<dyn MultipartUpload>>,
    part: BytesMut,
}

impl Store {
    /// Begins a file. `names` are those of its folders, outermost first, and its own.
    #[must_use]
    pub fn upload<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Upload {
        let path = std::iter::once(ARTIFACTS).chain(names).filter(|name| !name.is_empty()).collect();
        Upload { store: self.clone(), path, upload: None, part: BytesMut::new() }
    }

    /// Returns where people find what was uploaded below a folder.
    #[must_use]
    pub fn uploaded_to(&self, folder: &str) -> String {
        let path: Path = std::iter::once(ARTIFACTS).chain(folder.split('/').filter(|name| !name.is_empty())).collect();
        match &self.kind {
            Kind::Directory(root) => root.join(path.as_ref()).display().to_string(),
            Kind::S3(_) => format!("{}/{path}", self.name),
        }
    }
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the store cannot write them.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.part.extend_from_slice(bytes);
        if self.part.len() < PART_BYTES {
            return Ok(());
        }
        let part = std::mem::take(&mut self.part).freeze();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let begun = self.store.objects.put_multipart(&self.path).await;
                none.insert(begun.map_err(self.store.failed("begin to upload a file"))?)
            }
        };
        upload.put_part(PutPayload::from(part)).await.map_err(self.store.failed("write a part of a file"))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the store cannot do that.
    pub async fn finish(mut self) -> Result<(), Error> {
        let rest = PutPayload::from(self.part.freeze());
        let Some(upload) = &mut self.upload else {
            let put = self.store.objects.put(&self.path, rest).await;
            return put.map(drop).map_err(self.store.failed("upload a file"));
        };
        if rest.content_length() > 0 {
            upload.put_part(rest).await.map_err(self.store.failed("write a part of a file"))?;
        }
        upload.complete().await.map(drop).map_err(self.store.failed("end a file"))
    }
}
