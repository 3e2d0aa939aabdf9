//! Calls of processes of this machine, by a socket in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// Everybody may go there.
const DIR_MODE: u32 = 0o755;
/// Everybody may call.
const SOCKET_MODE: u32 = 0o666;

/// Listens on a socket in a folder that is this process's own.
///
/// # Errors
/// When somebody else has made the folder, who could put another socket in its place, or nobody can listen there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match fs::DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let meta = fs::symlink_metadata(dir)?;
    let own = meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !own {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its folder is not the agent's own"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Whether a socket is there.
pub(crate) fn is_there(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// The user whose process calls; none where the system does not tell.
pub(crate) fn user_of(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|peer| peer.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_must_be_ours_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).join("socket");
        for _ in 0..2 {
            drop(listen(&at("own")).expect("a listener"));
        }
        assert!(is_there(&at("own")) && !is_there(&at("other")));
        let mode = |path: &Path| path.metadata().expect("a socket").mode() & 0o777;
        assert_eq!((mode(&dir.path().join("own")), mode(&at("own"))), (DIR_MODE, SOCKET_MODE));
        let open = dir.path().join("open");
        fs::create_dir(&open).expect("a directory");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its mode");
        std::os::unix::fs::symlink(dir.path().join("own"), dir.path().join("link")).expect("a link");
        for name in ["open", "link"] {
            assert!(listen(&at(name)).is_err(), "{name}");
        }
    }
}
