//! What steps upload: files under the names that they give, for people and other programs.

use bytes::{Bytes, BytesMut};
use object_store::path::{Path, PathPart};
use object_store::{ObjectStoreExt as _, PutPayload};

use crate::error::Error;
use crate::parts::{PART_BYTES, Parts};
use crate::store::{Kind, Store};

/// Folder of what is uploaded.
const ARTIFACTS: &str = "artifacts";

/// A file that is being uploaded. It is there once it is whole.
pub struct Upload {
    store: Store,
    path: Path,
    /// The file as long as it has less than one part.
    small: BytesMut,
    /// The file once it has more.
    parts: Option<Parts>,
}

impl Store {
    /// Begins a file. `names` are those of its folders, outermost first, and its own.
    #[must_use]
    pub fn upload<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Upload {
        let path = path(names);
        Upload { store: self.clone(), path, small: BytesMut::new(), parts: None }
    }

    /// Returns where people find what was uploaded below a folder.
    #[must_use]
    pub fn uploaded_to(&self, folder: &str) -> String {
        let path = path(folder.split('/'));
        match &self.kind {
            Kind::Directory(root) => root.join(path.as_ref()).display().to_string(),
            Kind::S3(address) => format!("{address}/{path}"),
        }
    }
}

/// Returns the path of names, which are kept as they are where they can be.
fn path<'n>(names: impl IntoIterator<Item = &'n str>) -> Path {
    let part = |name: &'n str| match PathPart::parse(name) {
        // A directory takes a name with `#` and a number for one that is being written.
        Ok(part) if !name.contains('#') => part,
        // `..` leads nowhere then.
        _ => PathPart::from(name),
    };
    std::iter::once(ARTIFACTS).chain(names).filter(|name| !name.is_empty()).map(part).collect()
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the store cannot write them.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None if self.small.len() + bytes.len() < PART_BYTES => {
                self.small.extend_from_slice(bytes);
                return Ok(());
            }
            none => {
                let begun = Parts::begin(&self.store, &self.path).await;
                let parts = none.insert(begun.map_err(self.store.failed("begin to upload a file"))?);
                let small = std::mem::take(&mut self.small).freeze();
                parts.write(&small).await.map_err(self.store.failed("write a part of a file"))?;
                parts
            }
        };
        parts.write(bytes).await.map_err(self.store.failed("write a part of a file"))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the store cannot do that.
    pub async fn finish(self) -> Result<(), Error> {
        let Self { store, path, small, parts } = self;
        let done = match parts {
            None => store.objects.put(&path, PutPayload::from(small.freeze())).await.map(drop),
            Some(parts) => parts.finish().await,
        };
        done.map_err(store.failed("end a file"))
    }
}
