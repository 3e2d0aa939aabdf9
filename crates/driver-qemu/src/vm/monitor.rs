//! The sockets of a VM in its instance's directory: the one on which the monitor of a VM that outlives its owner listens, and the one
//! on which the agent of an isolated VM is asked for.
//!
//! QEMU gets the listening socket itself, so that a connection can be made before QEMU has begun. It serves one connection
//! at a time: the driver's while it starts the VM; after that anybody who may enter the directory can ask, such as an operator.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::error::QemuError;

const SOCKET: &str = "monitor";
/// The name of the socket on which the agent of an isolated VM is asked for, in its instance's directory.
pub(crate) const AGENT_SOCKET: &str = "agent.sock";

/// Makes the socket, and returns the listening end for QEMU and a connection to it.
pub(crate) fn listen(dir: &Path) -> Result<(OwnedFd, UnixStream), QemuError> {
    let (listener, stream) =
        make(dir, SOCKET, |short| UnixListener::bind(short).and_then(|made| Ok((made, UnixStream::connect(short)?))))?;
    Ok((OwnedFd::from(listener), stream))
}

/// Makes the socket on which a VM's agent is asked for, in place of one that is left.
pub(crate) fn listen_for_agent(dir: &Path) -> Result<OwnedFd, QemuError> {
    make(dir, AGENT_SOCKET, |short| {
        match std::fs::remove_file(short) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        UnixListener::bind(short)
    })
    .map(OwnedFd::from)
}

/// The address of a socket has 108 bytes, and a directory may be deeper: it is named by its descriptor.
fn make<T>(dir: &Path, name: &str, bind: impl FnOnce(&Path) -> std::io::Result<T>) -> Result<T, QemuError> {
    let entered = File::open(dir).map_err(QemuError::io("open", dir))?;
    let short = format!("/proc/self/fd/{}/{name}", entered.as_raw_fd());
    bind(short.as_ref()).map_err(QemuError::io("make a socket at", dir.join(name)))
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
