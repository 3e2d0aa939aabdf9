//! Files that a request asks for before anything runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiln_wire::agent::File;

use super::ExecError;

/// Makes a file or directory with its parents; one that exists is overwritten.
pub(crate) fn make(file: &File) -> Result<(), ExecError> {
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
            fs::set_permissions(path, fs::Permissions::from_mode(file.mode & 0o7777))?;
        }
        Ok(())
    })();
    made.map_err(|source| ExecError::File { path: path.into(), source })
}
