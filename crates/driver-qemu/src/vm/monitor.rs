//! The socket on which the monitor of a VM that outlives its owner listens, in the instance's directory.
//!
//! QEMU gets the listening socket itself, so that a connection can be made before QEMU has begun. It serves one connection
//! at a time: the driver's while it starts the VM; after that anybody who may enter the directory can ask, such as an operator.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::error::QemuError;

const SOCKET: &str = "monitor";

/// Makes the socket, and returns the listening end for QEMU and a connection to it.
pub(crate) fn listen(dir: &Path) -> Result<(OwnedFd, UnixStream), QemuError> {
    let path = dir.join(SOCKET);
    let entered = File::open(dir).map_err(QemuError::io("open", dir))?;
    // The address of a socket has 108 bytes, and a state directory may be deeper: it is named by its descriptor.
    let short = format!("/proc/self/fd/{}/{SOCKET}", entered.as_raw_fd());
    let made = UnixListener::bind(&short).and_then(|listener| Ok((listener, UnixStream::connect(&short)?)));
    let (listener, stream) = made.map_err(QemuError::io("make a socket at", &path))?;
    Ok((OwnedFd::from(listener), stream))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_deep_directory_has_a_socket_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).expect("create");
        let (listener, mut ours) = listen(&deep).expect("a socket");
        let (mut theirs, _) = UnixListener::from(listener).accept().expect("our connection");
        theirs.write_all(b"hello").expect("write");
        drop(theirs);
        let mut said = String::new();
        ours.read_to_string(&mut said).expect("read");
        assert_eq!(said, "hello");
        assert!(deep.join(SOCKET).exists());
    }
}
