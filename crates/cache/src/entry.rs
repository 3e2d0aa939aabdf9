//! What is kept under a key.

use std::fmt;
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

/// Whose caches these are. Equal keys of two scopes are two caches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Whose they are, as the one who runs the pipeline knows it: a repository, say. No pipeline file can choose it.
    pub owner: String,
    /// The bucket that the pipeline file names, which keeps some of the owner's caches apart; empty for none.
    pub bucket: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bucket.as_str() {
            "" => f.write_str(&self.owner),
            bucket => write!(f, "{} ({bucket})", self.owner),
        }
    }
}

/// What a cache is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Whose it is.
    pub scope: Scope,
    /// The key.
    pub key: String,
}

impl Name {
    /// Returns where the key is written. A key may be of any length and have any characters, so its sum stands for it. The lengths
    /// keep apart what is joined.
    pub(crate) fn path(&self) -> Path {
        let mut sum = Sha256::default();
        for part in [&self.scope.owner, &self.scope.bucket, &self.key] {
            sum.update(&(part.len() as u64).to_le_bytes());
            sum.update(part.as_bytes());
        }
        Path::from(format!("{KEYS}/{}.json", sum.hex()))
    }
}

/// What is kept under a key, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    version: u32,
    /// Whose it is.
    pub scope: Scope,
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
        let of = |owner: &str, bucket: &str, key: &str| {
            let scope = Scope { owner: owner.to_owned(), bucket: bucket.to_owned() };
            Name { scope, key: key.to_owned() }.path()
        };
        for (a, b) in [
            (("a", "", "k"), ("b", "", "k")),
            (("a", "", "k"), ("", "a", "k")),
            (("a", "b", "k"), ("a", "", "bk")),
            (("a", "b", "k"), ("ab", "", "k")),
            (("a\0", "b", "k"), ("a", "\0b", "k")),
        ] {
            assert_ne!(of(a.0, a.1, a.2), of(b.0, b.1, b.2), "{a:?} {b:?}");
        }
        let long = of("a", "..", &"../ü/".repeat(1000));
        assert!(long.as_ref().starts_with("keys/") && long.as_ref().len() < 100, "{long}");
    }

    #[test]
    fn what_is_written_under_a_key_is_read_back_and_nothing_else() {
        let scope = Scope { owner: "o".to_owned(), bucket: "b".to_owned() };
        let name = Name { scope, key: "k".to_owned() };
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
