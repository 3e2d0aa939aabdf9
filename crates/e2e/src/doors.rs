//! Listeners on this machine's loopback that count who comes, for tests of what VMs reach.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What VMs know this machine's loopback as.
const HOST_IN_VMS: &str = "10.0.2.2";

/// A listener on a port of its own.
#[derive(Debug)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Door {
    /// Listens until the process ends.
    ///
    /// # Errors
    /// When there is no port left.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, came) = (listener.local_addr()?, Arc::<AtomicUsize>::default());
        let count = Arc::clone(&came);
        std::thread::spawn(move || {
            for _visitor in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { address, came })
    }

    /// Returns how many have come.
    #[must_use]
    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// Returns a Bash script that knocks at each door from within a VM, and prints `open` or `closed` for each.
#[must_use]
pub fn knock(doors: &[&Door]) -> String {
    let ports: Vec<String> = doors.iter().map(|door| door.address.port().to_string()).collect();
    format!(
        "for port in {}; do\n  if timeout 60 bash -c \"</dev/tcp/{HOST_IN_VMS}/$port\" 2>/dev/null; then echo open; else echo closed; fi\ndone",
        ports.join(" ")
    )
}
