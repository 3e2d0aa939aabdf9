//! What instances may reach beside the public internet.
//!
//! An isolated instance reaches public addresses and names, and nothing of the machine or the network that it runs in.
//! A [`Network`] says what is open in spite of that. How it is kept is up to each driver.

use std::net::SocketAddr;
use std::str::FromStr;

pub use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Most networks of one pool, and most addresses. Each connection of an instance is compared with them.
pub const MAX_OPENINGS: usize = 128;

/// What the instances of a flavor may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Whether only public addresses are open. Without it nothing is closed, and the lists mean nothing.
    pub isolated: bool,
    /// Networks that are open as a whole.
    pub allow: Vec<IpNet>,
    /// Addresses that are open at one port, over TCP and UDP. 127.0.0.1 is the loopback of the instance's host, which a
    /// local VM sees as 10.0.2.2.
    pub allow_hosts: Vec<SocketAddr>,
}

impl Default for Network {
    /// Isolated, with nothing opened.
    fn default() -> Self {
        Self { isolated: true, allow: Vec::new(), allow_hosts: Vec::new() }
    }
}

impl Network {
    /// A network without isolation.
    #[must_use]
    pub fn open() -> Self {
        Self { isolated: false, ..Self::default() }
    }

    /// Returns whether instances reach something that listens at this address, on the loopback of their host or anywhere
    /// else that is closed unless it is opened.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let is_it = |open: &SocketAddr| (open.ip().to_canonical(), open.port()) == (ip, port);
        !self.isolated || self.allow.iter().any(|net| net.contains(&ip)) || self.allow_hosts.iter().any(is_it)
    }
}

/// A text that is no opening. Its message says what is wrong with the text and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// An address has no port.
    #[error("`{text}` has no port: write the port that is to be open, such as `{}`", with_port(.text))]
    NoPort {
        /// The text.
        text: String,
    },
    /// Port 0 is none.
    #[error("`{text}` has port 0, which nothing listens on: write the port that is to be open")]
    PortZero {
        /// The text.
        text: String,
    },
    /// A name stands in place of an address. Names are not resolved, because whoever answers for a name would decide
    /// what is open.
    #[error("`{text}` is a name: names are not resolved here, write its address, such as `{example}`")]
    Name {
        /// The text.
        text: String,
        /// What is right.
        example: &'static str,
    },
    /// A network has bits set beyond its prefix.
    #[error(
        "`{text}` has bits set beyond its prefix: write `{meant}` for the network, or `{host}` for the one address"
    )]
    HostBits {
        /// The text.
        text: String,
        /// The network that it lies in.
        meant: IpNet,
        /// The address alone.
        host: IpNet,
    },
    /// A network is given where an address is wanted.
    #[error("`{text}` is a network: write it under `{instead}`")]
    Network {
        /// The text.
        text: String,
        /// Where networks belong.
        instead: &'static str,
    },
    /// An address with a port is given where a network is wanted.
    #[error("`{text}` has a port: write it under `{instead}`")]
    Port {
        /// The text.
        text: String,
        /// Where addresses with ports belong.
        instead: &'static str,
    },
    /// Anything else.
    #[error("`{text}` is no {what}: write it like `{example}`")]
    Unreadable {
        /// The text.
        text: String,
        /// What it should be.
        what: &'static str,
        /// What is right.
        example: &'static str,
    },
}

/// Longest text that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;
const NET: &str = "10.1.2.0/24";
const HOST: &str = "10.1.2.3:443";

/// Reads a network, such as `10.1.2.0/24`, `fd00::/8`, or a single address. `hosts` is where addresses with ports
/// belong, for the message.
///
/// # Errors
/// If the text is no network.
pub fn parse_net(text: &str, hosts: &'static str) -> Result<IpNet, OpeningError> {
    let text = text.trim();
    if let Ok(address) = std::net::IpAddr::from_str(text) {
        return Ok(address.into());
    }
    match IpNet::from_str(text) {
        Ok(net) if net == net.trunc() => Ok(net),
        Ok(net) => Err(OpeningError::HostBits { text: shown(text), meant: net.trunc(), host: net.addr().into() }),
        Err(_) if SocketAddr::from_str(text).is_ok() => Err(OpeningError::Port { text: shown(text), instead: hosts }),
        Err(_) if is_name(text.split('/').next().unwrap_or_default()) => {
            Err(OpeningError::Name { text: shown(text), example: NET })
        }
        Err(_) => Err(OpeningError::Unreadable { text: shown(text), what: "network", example: NET }),
    }
}

/// Reads an address with a port, such as `10.1.2.3:443` or `[fd00::1]:443`. `nets` is where networks belong, for the
/// message.
///
/// # Errors
/// If the text is no address with a port.
pub fn parse_host(text: &str, nets: &'static str) -> Result<SocketAddr, OpeningError> {
    let text = text.trim();
    if let Ok(address) = SocketAddr::from_str(text) {
        return match address.port() {
            0 => Err(OpeningError::PortZero { text: shown(text) }),
            _ => Ok(address),
        };
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if std::net::IpAddr::from_str(bare).is_ok() {
        return Err(OpeningError::NoPort { text: bare.to_owned() });
    }
    if IpNet::from_str(text).is_ok() {
        return Err(OpeningError::Network { text: shown(text), instead: nets });
    }
    if is_name(text.rsplit_once(':').map_or(text, |(name, _)| name)) {
        return Err(OpeningError::Name { text: shown(text), example: HOST });
    }
    Err(OpeningError::Unreadable { text: shown(text), what: "address with a port", example: HOST })
}

/// Whether a text could name a machine. What consists of digits and dots is a mistyped address.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars().all(fits) && text.contains(|c: char| c.is_ascii_alphabetic())
}

fn with_port(bare: &str) -> String {
    if bare.contains(':') { format!("[{bare}]:443") } else { format!("{bare}:443") }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn net(text: &str, expect: &str) {
        let read = parse_net(text, "allow_hosts").map_or_else(|error| error.to_string(), |net| net.to_string());
        assert_eq!(read, expect);
    }

    #[track_caller]
    fn host(text: &str, expect: &str) {
        let read = parse_host(text, "allow").map_or_else(|error| error.to_string(), |host| host.to_string());
        assert_eq!(read, expect);
    }

    #[test]
    fn a_network_is_read_or_its_fault_is_told() {
        net("10.1.0.0/16", "10.1.0.0/16");
        net(" fd00::/8 ", "fd00::/8");
        net("10.1.2.3", "10.1.2.3/32");
        net("::1", "::1/128");
        net("0.0.0.0/0", "0.0.0.0/0");
        let bits = "has bits set beyond its prefix: write `10.1.2.0/24` for the network, or `10.1.2.3/32` for the one";
        net("10.1.2.3/24", &format!("`10.1.2.3/24` {bits} address"));
        net("10.1.2.3:443", "`10.1.2.3:443` has a port: write it under `allow_hosts`");
        let name = "is a name: names are not resolved here, write its address, such as `10.1.2.0/24`";
        net("intranet.example/24", &format!("`intranet.example/24` {name}"));
        net("localhost", &format!("`localhost` {name}"));
        for bad in ["", "10.1.2.0/33", "10.1.2/24", "10.1.2.0/", "/8", "10.1.2.0/24/8"] {
            net(bad, &format!("`{bad}` is no network: write it like `10.1.2.0/24`"));
        }
    }

    #[test]
    fn an_address_is_read_or_its_fault_is_told() {
        host("10.1.2.3:443", "10.1.2.3:443");
        host(" [fd00::1]:53 ", "[fd00::1]:53");
        let port = "has no port: write the port that is to be open, such as";
        host("10.1.2.3", &format!("`10.1.2.3` {port} `10.1.2.3:443`"));
        host("fd00::1", &format!("`fd00::1` {port} `[fd00::1]:443`"));
        host("[fd00::1]", &format!("`fd00::1` {port} `[fd00::1]:443`"));
        let zero = "has port 0, which nothing listens on: write the port that is to be open";
        host("10.1.2.3:0", &format!("`10.1.2.3:0` {zero}"));
        host("10.1.2.0/24", "`10.1.2.0/24` is a network: write it under `allow`");
        let name = "is a name: names are not resolved here, write its address, such as `10.1.2.3:443`";
        host("localhost:80", &format!("`localhost:80` {name}"));
        host("registry.example", &format!("`registry.example` {name}"));
        for bad in ["", ":443", "10.1.2:443", "10.1.2.3:99999", "10.1.2.3:", "http://10.1.2.3:80"] {
            host(bad, &format!("`{bad}` is no address with a port: write it like `10.1.2.3:443`"));
        }
    }

    #[test]
    fn nothing_said_is_isolated_and_closed() {
        let read: Network = serde_json::from_str("{}").expect("JSON");
        assert_eq!(read, Network::default());
        assert!(read.isolated && read.allow.is_empty() && read.allow_hosts.is_empty());
        assert!(!Network::open().isolated);
    }

    #[test]
    fn what_is_reached_is_what_is_open() {
        let opened = |nets: &[&str], hosts: &[&str]| Network {
            isolated: true,
            allow: nets.iter().map(|text| parse_net(text, "").expect("a network")).collect(),
            allow_hosts: hosts.iter().map(|text| parse_host(text, "").expect("an address")).collect(),
        };
        for (network, address, expect) in [
            (Network::default(), "127.0.0.1:3000", false),
            (Network::open(), "127.0.0.1:3000", true),
            (opened(&[], &["127.0.0.1:3000"]), "127.0.0.1:3000", true),
            (opened(&[], &["127.0.0.1:3000"]), "127.0.0.1:3001", false),
            (opened(&[], &["[::ffff:127.0.0.1]:3000"]), "127.0.0.1:3000", true),
            (opened(&["0.0.0.0/0"], &[]), "127.0.0.1:3000", true),
            (opened(&["0.0.0.0/0"], &[]), "[::1]:3000", false),
            (opened(&["10.0.0.0/8"], &["[::1]:80"]), "127.0.0.1:80", false),
        ] {
            assert_eq!(network.reaches(address.parse().expect("an address")), expect, "{network:?} {address}");
        }
    }

    #[test]
    fn it_reads_back() {
        let network = Network {
            isolated: true,
            allow: vec![parse_net("fd00::/8", "").expect("a network")],
            allow_hosts: vec![parse_host("127.0.0.1:80", "").expect("an address")],
        };
        let text = serde_json::to_string(&network).expect("JSON");
        assert_eq!(text, r#"{"isolated":true,"allow":["fd00::/8"],"allow_hosts":["127.0.0.1:80"]}"#);
        assert_eq!(serde_json::from_str::<Network>(&text).expect("JSON"), network);
    }
}
