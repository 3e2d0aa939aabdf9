//! What a VM reaches: doors that this program opens or knows of, knocked at from inside the VM, and counted at the doors.
//!
//! | door | in the VM | may be |
//! |---|---|---|
//! | opened for the VM | 10.0.2.2:PORT | open: else the network is dead, and closed doors prove nothing |
//! | loopback of this machine | 10.0.2.2:PORT | closed |
//! | this machine's own addresses | ADDRESS:PORT | closed |
//! | cloud metadata, a private address | ADDRESS:80 | closed |

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_pool::Network;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::guest::Guest;
use super::part::{Seen, Trouble};

/// This machine's loopback, as a VM sees it.
const HOST_IN_VM: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where clouds answer questions about a machine, with its credentials.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// A private address that hardly anybody has.
const PRIVATE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 254, 253)), 80);
/// Most of this machine's addresses that are tried.
const OWN_MAX: usize = 8;
/// How long a knock waits, in seconds. What is closed answers at once, or never.
const KNOCK_S: u32 = 4;
/// Marks the lines of the step that are answers.
const MARK: &str = "KILN-DOOR";
const LACKING_ISOLATION: &str =
    "see what `kiln doctor` says of isolation above; until then do not run pipelines that you do not trust";

/// Something that a VM may or may not reach.
#[derive(Debug)]
struct Door {
    /// What it is, for people.
    what: String,
    /// Where it is, from inside a VM.
    from_vm: SocketAddr,
    /// Whether it was opened for the VM.
    is_opened: bool,
    /// Who stands behind it; none where nobody of ours does.
    counted: Option<Counted>,
}

/// A listener that counts its callers.
#[derive(Debug)]
struct Counted {
    address: SocketAddr,
    callers: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Counted {
    async fn at(address: IpAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let (address, callers) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&callers);
        let listening = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { address, callers, listening })
    }

    fn callers(&self) -> usize {
        self.callers.load(Ordering::SeqCst)
    }
}

/// All doors of a trial.
#[derive(Debug)]
pub struct Doors(Vec<Door>);

impl Doors {
    /// Opens the doors. An address of this machine that cannot be listened at is left out.
    pub async fn open() -> Result<Self, Trouble> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut doors = Vec::new();
        for (what, is_opened) in [("what is opened for the VM", true), ("this machine's loopback", false)] {
            let counted = Counted::at(loopback).await;
            let counted = counted.map_err(|error| Trouble::new(format!("cannot listen at {loopback}: {error}"), ""))?;
            let from_vm = SocketAddr::from((HOST_IN_VM, counted.address.port()));
            doors.push(Door { what: what.to_owned(), from_vm, is_opened, counted: Some(counted) });
        }
        for own in own_addresses()?.into_iter().take(OWN_MAX) {
            // One that has gone meanwhile cannot be reached either.
            if let Ok(counted) = Counted::at(own.into()).await {
                let what = format!("this machine's own address {own}");
                doors.push(Door { what, from_vm: counted.address, is_opened: false, counted: Some(counted) });
            }
        }
        for (what, from_vm) in [("cloud metadata", METADATA), ("a private address", PRIVATE)] {
            let what = format!("{what} ({})", from_vm.ip());
            doors.push(Door { what, from_vm, is_opened: false, counted: None });
        }
        Ok(Self(doors))
    }

    /// The network of a VM for which one door is opened.
    pub fn network(&self) -> Network {
        let opened =
            self.0.iter().filter(|door| door.is_opened).filter_map(|door| Some(door.counted.as_ref()?.address));
        Network { allow_hosts: opened.collect(), ..Network::default() }
    }

    /// Knocks at every door from inside the VM.
    pub async fn knock(&self, guest: &Guest) -> Seen<()> {
        let said = guest.runs("isolation", &self.script()).await?;
        if said.output.contains("NO-BASH") {
            return Err(Trouble::Lacking("the image has no bash, with which the doors are tried".to_owned()));
        }
        let mut found = Vec::new();
        for (n, door) in self.0.iter().enumerate() {
            let line = |state: &str| said.output.lines().any(|line| line.trim() == format!("{MARK} {n} {state}"));
            let reached = door.counted.as_ref().map_or(0, Counted::callers);
            if !line("open") && !line("closed") {
                return Err(Trouble::new(
                    format!("the VM did not say whether {} is open\n{}", door.what, said.output),
                    "",
                ));
            }
            found.push((door.what.as_str(), door.is_opened, line("open") || reached > 0));
        }
        judge(&found).map(|seen| ((), seen))
    }

    fn script(&self) -> String {
        let mut script = format!(
            "command -v bash >/dev/null || {{ echo NO-BASH; exit 0; }}\n\
             knock() {{ if timeout {KNOCK_S} bash -c \"exec 3<>/dev/tcp/$2/$3\" 2>/dev/null; then echo \"{MARK} $1 open\"; \
             else echo \"{MARK} $1 closed\"; fi; }}\n"
        );
        for (n, Door { from_vm, .. }) in self.0.iter().enumerate() {
            script.push_str(&format!("knock {n} {} {} &\n", from_vm.ip(), from_vm.port()));
        }
        script.push_str("wait\n");
        script
    }
}

/// Says what was found of each door: what it is, whether it was opened, and whether it is open.
fn judge(found: &[(&str, bool, bool)]) -> Result<String, Trouble> {
    let named = |is_opened: bool, is_open: bool| {
        let fits = found.iter().filter(|(_, opened, open)| (*opened, *open) == (is_opened, is_open));
        fits.map(|(what, _, _)| *what).collect::<Vec<_>>()
    };
    let (breaches, shut) = (named(false, true), named(true, false));
    if !breaches.is_empty() {
        return Err(Trouble::new(format!("root in a VM reaches {}", breaches.join(", ")), LACKING_ISOLATION));
    }
    if !shut.is_empty() {
        let what =
            "a VM does not reach an address of this machine that was opened for it, so its network does not work";
        return Err(Trouble::new(what, "look for a firewall of this machine that refuses connections on loopback"));
    }
    Ok(format!("closed, also for root: {}; open: {}", named(false, false).join(", "), named(true, true).join(", ")))
}

/// Returns this machine's own IPv4 addresses beside loopback.
fn own_addresses() -> Result<BTreeSet<Ipv4Addr>, Trouble> {
    let failed = |error| Trouble::new(format!("cannot list this machine's addresses: {error}"), "");
    let interfaces = nix::ifaddrs::getifaddrs().map_err(failed)?;
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Ok(addresses.filter(|address| !address.is_loopback()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_those_that_can_be_listened_at() {
        for own in own_addresses().expect("a list") {
            assert!(!own.is_loopback());
            std::net::UdpSocket::bind((own, 0)).unwrap_or_else(|error| panic!("{own}: {error}"));
        }
    }

    #[test]
    fn a_closed_door_counts_only_beside_an_open_one() {
        let check = |found: &[(&str, bool, bool)], expect: &str| {
            let told = match judge(found) {
                Ok(seen) => seen,
                Err(Trouble::Wrong { what, .. } | Trouble::Lacking(what)) => what,
            };
            assert!(told.contains(expect), "{found:?}: {told}");
        };
        check(&[("a", true, true), ("b", false, false)], "closed, also for root: b; open: a");
        check(&[("a", true, true), ("b", false, true), ("c", false, true)], "root in a VM reaches b, c");
        check(&[("a", true, false), ("b", false, false)], "its network does not work");
    }

    #[tokio::test]
    async fn callers_are_counted() {
        let doors = Doors::open().await.expect("doors");
        assert_eq!(doors.network().allow_hosts.len(), 1);
        let script = doors.script();
        for door in doors.0.iter().filter_map(|door| door.counted.as_ref()) {
            assert!(script.contains(&format!(" {} &", door.address.port())), "{script}");
            tokio::net::TcpStream::connect(door.address).await.expect("a connection");
            while door.callers() == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
