//! A store: opens it, finds what is kept under a key, removes it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};

use crate::crypto::Crypto;
use crate::entry::{Entry, KEYS, Listed, Name};
use crate::error::{Error, Reason};
use crate::location::{Location, S3};

/// How long it may take to connect to a store, and how long nothing may come from it, which includes the time for sending one part.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const SILENT_FOR: Duration = Duration::from_secs(300);
/// How often a request that failed is made again, and for how long.
const RETRIES: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Permissions of a directory that is made.
const PRIVATE: u32 = 0o700;
/// Keys of a list that are read at once.
const READ_AT_ONCE: usize = 16;

/// A store that is open.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) kind: Kind,
    /// What people call it.
    pub(crate) name: String,
    /// Most bytes of an archive.
    pub(crate) limit_bytes: u64,
}

/// What only one kind of store can do.
#[derive(Clone)]
pub(crate) enum Kind {
    Directory(PathBuf),
    /// With the bucket and the prefix as people write them.
    S3(String),
}

/// What is kept under a key.
#[derive(Debug)]
pub enum Lookup {
    /// This.
    Hit(Entry),
    /// Nothing.
    Miss,
    /// Something that cannot be read, for this reason.
    Broken(String),
}

impl Store {
    /// Opens a store. `settings` are the variables of the environment that begin with `AWS_`; they have the credentials for a bucket.
    ///
    /// # Errors
    /// When the directory cannot be made, or the settings cannot be used.
    pub fn open(location: &Location, settings: &BTreeMap<String, String>, limit_bytes: u64) -> Result<Self, Error> {
        let name = location.to_string();
        let (objects, kind): (Arc<dyn ObjectStore>, Kind) = match location {
            Location::Directory(path) => {
                let mut made = std::fs::DirBuilder::new();
                // What steps keep is nothing for other users of this machine, unless somebody made the directory for them.
                let made = made.recursive(true).mode(PRIVATE).create(path);
                let opened = made.and_then(|()| path.canonicalize());
                let path = opened.map_err(|source| Error::Folder { store: name.clone(), source })?;
                let files = LocalFileSystem::new_with_prefix(&path);
                let files = files.map_err(failed(&name, "be opened"))?;
                (Arc::new(files), Kind::Directory(path))
            }
            Location::S3(s3) => {
                let bucket = bucket(s3, settings).map_err(failed(&name, "be opened"))?;
                let objects: Arc<dyn ObjectStore> = match s3.prefix.as_str() {
                    "" => Arc::new(bucket),
                    prefix => Arc::new(PrefixStore::new(bucket, prefix)),
                };
                (objects, Kind::S3(s3.address()))
            }
        };
        Ok(Self { objects, kind, name, limit_bytes })
    }

    /// Returns what people call the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn failed(&self, what: &'static str) -> impl FnOnce(object_store::Error) -> Error + use<> {
        failed(&self.name, what)
    }

    /// Looks for what is kept under a name, and remembers that it was used.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn find(&self, name: &Name) -> Result<Lookup, Error> {
        let path = name.path();
        let found = self.entry_at(&path).await?;
        if let (Lookup::Hit(_), Kind::Directory(root)) = (&found, &self.kind) {
            let path = root.join(path.as_ref());
            let touched = std::fs::File::options().write(true).open(path);
            if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
                tracing::debug!(%error, "the use of a cache cannot be remembered");
            }
        }
        Ok(match found {
            Lookup::Hit(entry) if entry.name() != *name => Lookup::Broken("it is of another key".to_owned()),
            found => found,
        })
    }

    pub(crate) async fn entry_at(&self, path: &Path) -> Result<Lookup, Error> {
        let bytes = match self.objects.get(path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(Lookup::Miss),
            Err(error) => return Err(self.failed("be asked for a key")(error)),
            Ok(found) => found.bytes().await.map_err(self.failed("be asked for a key"))?,
        };
        Ok(Entry::read(&bytes).map_or_else(Lookup::Broken, Lookup::Hit))
    }

    /// Removes what is kept under a name, and returns whether there was anything.
    ///
    /// # Errors
    /// When the store cannot remove it.
    pub async fn remove(&self, name: &Name) -> Result<bool, Error> {
        let path = name.path();
        let found = self.entry_at(&path).await?;
        if matches!(found, Lookup::Miss) {
            return Ok(false);
        }
        // The key first: nobody finds an archive that is not there any more.
        self.delete(&path).await?;
        if let Lookup::Hit(entry) = found {
            self.delete(&entry.data()).await?;
        }
        Ok(true)
    }

    /// Removes a cache that cannot be used, unless another one was saved under its name meanwhile.
    ///
    /// # Errors
    /// When the store cannot remove it.
    pub async fn discard(&self, entry: &Entry) -> Result<(), Error> {
        if matches!(self.entry_at(&entry.name().path()).await?, Lookup::Hit(now) if now.data == entry.data) {
            self.remove(&entry.name()).await?;
        }
        Ok(())
    }

    /// Returns how many bytes all archives together may have, where the store is pruned as caches are saved.
    #[must_use]
    pub fn limit_bytes(&self) -> Option<u64> {
        matches!(self.kind, Kind::Directory(_)).then_some(self.limit_bytes)
    }

    /// Returns whether the archive of a key is there.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn has_archive(&self, entry: &Entry) -> Result<bool, Error> {
        match self.objects.head(&entry.data()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("be asked for an archive")(error)),
        }
    }

    /// Removes something, if it is there.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove a cache")(error)),
        }
    }

    /// Lists what is kept, the latest used first. What cannot be read is left out.
    ///
    /// # Errors
    /// When the store cannot list it.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        let keys = self.objects.list(Some(&Path::from(KEYS))).map_err(|error| self.failed("list its keys")(error));
        let read = keys.map_ok(|meta| async move {
            let used = meta.last_modified.timestamp_millis();
            Ok(match self.entry_at(&meta.location).await? {
                Lookup::Hit(entry) => Some(Listed { entry, used_unix_ms: u64::try_from(used).unwrap_or(0) }),
                Lookup::Miss => None,
                Lookup::Broken(why) => {
                    tracing::warn!(key = %meta.location, why, "a key of the cache store cannot be read");
                    None
                }
            })
        });
        let listed: Vec<Option<Listed>> = read.try_buffer_unordered(READ_AT_ONCE).try_collect().await?;
        let mut listed: Vec<Listed> = listed.into_iter().flatten().collect();
        listed.sort_by_cached_key(|listed| Reverse((listed.used_unix_ms, listed.entry.name())));
        Ok(listed)
    }

    /// Lists everything in a folder of the store.
    pub(crate) async fn all_in(&self, folder: &str) -> Result<Vec<ObjectMeta>, Error> {
        let all = self.objects.list(Some(&Path::from(folder)));
        all.try_collect().await.map_err(self.failed("list its archives"))
    }
}

fn failed(store: &str, what: &'static str) -> impl FnOnce(object_store::Error) -> Error + use<> {
    let store = store.to_owned();
    move |error| Error::Store { store, what, source: Reason(error) }
}

/// Opens a bucket with the settings of the environment, over which those of the location stand.
fn bucket(s3: &S3, settings: &BTreeMap<String, String>) -> object_store::Result<AmazonS3> {
    // The client of the store asks for the process's provider.
    kiln_tls::install_provider();
    let mut builder = AmazonS3Builder::new().with_crypto_provider(Arc::new(Crypto));
    for (name, value) in settings {
        // There are variables for Amazon's own tools, which mean nothing here.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    // An archive may take any time to be read, as long as it moves.
    let mut client = ClientOptions::new().with_connect_timeout(CONNECT_WITHIN);
    client = client.with_timeout_disabled().with_read_timeout(SILENT_FOR);
    let endpoint = s3.endpoint.as_ref().or_else(|| settings.get("AWS_ENDPOINT_URL_S3"));
    if let Some(endpoint) = endpoint.or_else(|| settings.get("AWS_ENDPOINT_URL")) {
        // A store of one's own may be behind plain HTTP. Signatures hold there too, and no key is sent.
        client = client.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(virtual_host) = s3.virtual_host {
        builder = builder.with_virtual_hosted_style_request(virtual_host);
    }
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    // Not all stores can remove several objects at once, and nothing here needs that.
    builder = builder.with_disable_bulk_delete(true);
    builder.with_bucket_name(&s3.bucket).with_client_options(client).with_retry(retry).build()
}
