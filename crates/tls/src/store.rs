//! The CA on disk: one file, written whole, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::{Authority, TlsError};

const FILE: &str = "ca.pem";

/// Returns the CA that is kept in `dir`. The first call makes it. Two processes that start together get the same one:
/// each writes a whole file of its own and links it in place, and only one link succeeds.
pub fn load_or_create(dir: &Path) -> Result<Authority, TlsError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(pem) => return read(&pem),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(TlsError::Store { action: "read", path, source }),
    }
    let store = |action, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Store { action, path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(store("create", dir))?;
    let authority = Authority::create()?;
    let draft = tempfile::Builder::new()
        .prefix(".ca")
        .make_in(dir, |p| OpenOptions::new().write(true).create_new(true).mode(0o600).open(p))
        .map_err(store("create", dir))?;
    write!(draft.as_file(), "{}{}", authority.ca_pem(), authority.key_pem()).map_err(store("write", &path))?;
    draft.as_file().sync_all().map_err(store("write", &path))?;
    match draft.persist_noclobber(&path) {
        Ok(_) => Ok(authority),
        Err(lost) if lost.error.kind() == ErrorKind::AlreadyExists => {
            let pem = fs::read_to_string(&path).map_err(store("read", &path))?;
            read(&pem)
        }
        Err(failed) => Err(TlsError::Store { action: "write", path, source: failed.error }),
    }
}

fn read(pem: &str) -> Result<Authority, TlsError> {
    let key_at = pem.find("-----BEGIN PRIVATE KEY").ok_or(TlsError::Pem { what: "CA's private key", source: None })?;
    let (cert, key) = pem.split_at(key_at);
    Authority::load(cert, key)
}
