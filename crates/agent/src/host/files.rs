//! Files that a request asks for before anything runs.

use std::fs;
use std::path::Path;

use kiln_wire::agent::File;

use super::HostError;
use crate::os::files::set_mode;

/// Makes a file or directory with its parents; one that exists is overwritten.
pub(crate) fn make_file(file: &File) -> Result<(), HostError> {
    let path = Path::new(&file.path);
    let made = (|| {
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
        Ok(())
    })();
    made.map_err(|source| HostError::File { path: path.into(), source })
}

/// Makes a directory with its parents, and sets its mode even when it exists.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), HostError> {
    let made = fs::create_dir_all(path).and_then(|()| set_mode(path, mode));
    made.map_err(|source| HostError::File { path: path.into(), source })
}
