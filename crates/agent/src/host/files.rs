//! Files that a request asks for before anything runs.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kiln_wire::agent::File;

use super::HostError;
use crate::os::account::Account;
use crate::os::files::{create_private, set_mode};

/// Makes a file or directory with its parents, which belong to the account; one that exists is overwritten, and belongs
/// to whom it did.
pub(crate) fn make_file(file: &File, account: Option<&Account>) -> Result<(), HostError> {
    let path = Path::new(&file.path);
    let made = (|| {
        let new = missing(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if file.is_dir {
            fs::create_dir_all(path)?;
        } else {
            fs::write(path, &file.data)?;
        }
        if file.mode != 0 {
            set_mode(path, file.mode)?;
        }
        own(&new, account)
    })();
    made.map_err(|source| HostError::File { path: path.into(), source })
}

/// Makes a file that the account alone can read, or the agent where there is none; one of that name is replaced. Its
/// directory is made if it is not there, and belongs to the account then.
pub(crate) fn make_private(path: &Path, data: &[u8], account: Option<&Account>) -> Result<(), HostError> {
    let made = (|| {
        if let Some(dir) = path.parent() {
            make_dir_of(dir, account)?;
        }
        // One that is there may be open to others.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = create_private(path)?;
        file.write_all(data)?;
        account.map_or(Ok(()), |account| account.own_file(&file))
    })();
    made.map_err(|source| HostError::File { path: path.into(), source })
}

/// Makes a directory with its parents, and sets its mode even when it exists.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), HostError> {
    let made = fs::create_dir_all(path).and_then(|()| set_mode(path, mode));
    made.map_err(|source| HostError::File { path: path.into(), source })
}

/// What is not there of a path and the directories above it, from its end on.
pub(crate) fn missing(path: &Path) -> Vec<PathBuf> {
    let named = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    named.take_while(|part| part.symlink_metadata().is_err()).map(Path::to_owned).collect()
}

/// Gives these to the account, if it is another one than the agent's.
pub(super) fn own(paths: &[PathBuf], account: Option<&Account>) -> io::Result<()> {
    account.map_or(Ok(()), |account| paths.iter().try_for_each(|path| account.own(path)))
}

/// Makes a directory with those above it, which belong to the account; one that exists is left as it is.
pub(crate) fn make_dir_of(path: &Path, account: Option<&Account>) -> io::Result<()> {
    let new = missing(path);
    fs::create_dir_all(path)?;
    own(&new, account)
}
