//! Connections.

use std::io;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

/// Lets the kernel probe a silent peer `every` so often, and close the connection after so many `probes` without an answer.
pub(crate) fn keep_alive(stream: &TcpStream, every: Duration, probes: u32) -> io::Result<()> {
    let every = u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &every)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &every)?;
    setsockopt(stream, sockopt::TcpKeepCount, &probes)?;
    Ok(())
}
