//! What is kept under a key.

use std::time::{Duration, SystemTime};

use kiln_tls::Sha256;
use kiln_wire::agent::archive::Format;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// Version of what is written.
const VERSION: u32 = 1;
/// Folder of the keys.
pub(crate) const KEYS: &str = "keys";
/// Folder of the archives.
pub(crate) const DATA: &str = "data";

/// What a cache is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Whose caches these are: a bucket of the pipeline file, or the pipeline itself. Equal keys of two scopes are two caches.
    pub scope: String,
    /// The key.
    pub key: String,
}

impl Name {
    /// Returns where the key is written. A key may be of any length and have any characters, so its sum stands for it.
    pub(crate) fn path(&self) -> Path {
        let mut sum = Sha256::default();
        sum.update(self.scope.as_bytes());
        sum.update(b"\0");
        sum.update(self.key.as_bytes());
        Path::from(format!("{KEYS}/{}.json", sum.hex()))
    }
}

/// What is kept under a key, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    version: u32,
    /// Whose it is.
    pub scope: String,
    /// The key.
    pub key: String,
    /// The paths with which the archive was packed, and which say where it is unpacked.
    pub paths: Vec<String>,
    /// How it is packed.
    pub format: Format,
    /// Length of the archive in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Its name in the store.
    pub(crate) data: String,
    /// When it was saved, in seconds since 1970.
    pub saved_unix_s: u64,
}

impl Entry {
    pub(crate) fn new(name: Name, paths: Vec<String>, format: Format, data: &Path, bytes: u64, sha256: String) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (Name { scope, key }, data) = (name, data.to_string());
        Self { version: VERSION, scope, key, paths, format, bytes, sha256, data, saved_unix_s: now.as_secs() }
    }

    /// Reads what is written under a key.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let is_archive =
            entry.data.strip_prefix(DATA).is_some_and(|name| name.starts_with('/') && !name.contains(".."));
        match entry.version {
            VERSION if is_archive => Ok(entry),
            VERSION => Err(format!("{:?} is no name of an archive", entry.data)),
            version => Err(format!("it has the version {version}, and this Kiln reads version {VERSION}")),
        }
    }

    /// Returns the name that it is found by.
    #[must_use]
    pub fn name(&self) -> Name {
        Name { scope: self.scope.clone(), key: self.key.clone() }
    }

    pub(crate) fn data(&self) -> Path {
        Path::from(self.data.as_str())
    }
}

/// A cache of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub entry: Entry,
    /// When it was used last, or saved where the store does not tell, in milliseconds since 1970.
    pub used_unix_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_of_two_scopes_are_two_caches_and_any_key_has_a_name() {
        let of = |scope: &str, key: &str| Name { scope: scope.to_owned(), key: key.to_owned() }.path();
        assert_ne!(of("a", "k"), of("b", "k"));
        assert_ne!(of("a", "bk"), of("ab", "k"));
        let long = of("a", &"../ü/".repeat(1000));
        assert!(long.as_ref().starts_with("keys/") && long.as_ref().len() < 100, "{long}");
    }

    #[test]
    fn what_is_written_under_a_key_is_read_back_and_nothing_else() {
        let name = Name { scope: "s".to_owned(), key: "k".to_owned() };
        let entry = Entry::new(name, vec!["a".to_owned()], Format::Zstd, &Path::from("data/1"), 7, "00".to_owned());
        let json = serde_json::to_string(&entry).expect("JSON");
        assert_eq!(Entry::read(json.as_bytes()), Ok(entry));
        for (from, to) in
            [("data/1", "keys/1"), ("data/1", "data/../keys/1"), ("\"version\":1", "\"version\":2"), ("{", "")]
        {
            assert!(Entry::read(json.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
