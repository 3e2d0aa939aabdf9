//! Reads an archive, and holds it to what its key says of it.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_tls::Sha256;
use object_store::{GetResultPayload, ObjectStoreExt as _};
use tokio_util::io::ReaderStream;

use crate::entry::Entry;
use crate::error::Error;
use crate::store::Store;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 512 << 10;

/// An archive that is being read.
pub struct Reading {
    /// Its bytes. They end with an error when they are not those that were saved.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
    /// What is wrong with them, once that is known.
    pub fault: Fault,
}

/// Tells what is wrong with an archive that was read.
#[derive(Debug, Clone, Default)]
pub struct Fault(Arc<OnceLock<String>>);

impl Fault {
    /// Returns what is wrong with it, as far as it was read.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn found(&self, what: String) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self.0.get_or_init(|| what).clone())
    }
}

impl Store {
    /// Opens an archive. That of a key that was saved anew meanwhile may be gone, which [`Error::is_missing`] tells; the key is to be
    /// looked for again then.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open_archive(&self, entry: &Entry) -> Result<Reading, Error> {
        let found = self.objects.get(&entry.data()).await.map_err(self.failed("read a cache"))?;
        let bytes: BoxStream<'static, io::Result<Bytes>> = match found.payload {
            GetResultPayload::File(file, _) => {
                ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE_BYTES).boxed()
            }
            GetResultPayload::Stream(bytes) => bytes.map_err(io::Error::other).boxed(),
        };
        let fault = Fault::default();
        let check =
            Check { left: entry.bytes, wanted: entry.sha256.clone(), sum: Sha256::default(), fault: fault.clone() };
        Ok(Reading { bytes: checked(bytes, check), fault })
    }
}

struct Check {
    left: u64,
    wanted: String,
    sum: Sha256,
    fault: Fault,
}

impl Check {
    fn take(&mut self, bytes: &Bytes) -> io::Result<()> {
        let longer = || self.fault.found("it is longer than what was saved".to_owned());
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(longer)?;
        self.sum.update(bytes);
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        if self.left > 0 {
            return Err(self.fault.found(format!("its last {} bytes are missing", self.left)));
        }
        match self.sum.hex() == self.wanted {
            true => Ok(()),
            false => Err(self.fault.found("its bytes are not those that were saved".to_owned())),
        }
    }
}

/// Passes bytes on, and an error at their end when they are others than what was saved.
fn checked(bytes: BoxStream<'static, io::Result<Bytes>>, check: Check) -> BoxStream<'static, io::Result<Bytes>> {
    let checked = futures::stream::try_unfold(Some((bytes, check)), |state| async move {
        let Some((mut bytes, mut check)) = state else { return Ok(None) };
        match bytes.try_next().await? {
            Some(more) => {
                check.take(&more)?;
                Ok(Some((more, Some((bytes, check)))))
            }
            None => check.end().map(|()| None),
        }
    });
    checked.boxed()
}
