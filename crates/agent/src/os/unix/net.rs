//! Connections.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

use super::tools;

/// What looks names up as the machine is set up to.
const LOOK_UP: &str = "getent";
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// Lets the kernel probe a silent peer `every` so often, and close the connection after so many `probes` without an answer.
pub(crate) fn keep_alive(stream: &TcpStream, every: Duration, probes: u32) -> io::Result<()> {
    let every = u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &every)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &every)?;
    setsockopt(stream, sockopt::TcpKeepCount, &probes)?;
    Ok(())
}

/// Addresses of a host, in the order in which they should be tried.
///
/// The machine's own program looks them up: the plugins that its C library may need for that cannot be loaded into a static binary,
/// and one of another version could end it. Only where there is no such program, the agent's own library does.
pub(crate) async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("the name {host} is not known"));
    // It would be taken for a flag.
    if host.starts_with('-') {
        return Err(unknown());
    }
    let found = match tools::run(LOOK_UP, &["ahosts", host], LOOK_UP_WITHIN).await {
        Ok(told) => told_in(&told.output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()
        }
        Err(error) => return Err(error),
    };
    if found.is_empty() { Err(unknown()) } else { Ok(found) }
}

/// Each address once, of lines that begin with one.
fn told_in(output: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for ip in output.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_as_the_machine_does() {
        let found = addresses("localhost").await.expect("an address");
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        for unknown in ["no-such-name.invalid", "--help"] {
            assert!(addresses(unknown).await.is_err(), "{unknown}");
        }
    }

    #[test]
    fn each_address_is_told_once() {
        let output = "10.0.0.1  STREAM logs.example\n10.0.0.1  DGRAM\nfd00::1 STREAM\nwords\n";
        assert_eq!(told_in(output), ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
    }
}
