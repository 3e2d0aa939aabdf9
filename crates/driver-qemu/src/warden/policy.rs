//! What a VM may reach. Pure: it is given what the host knows and opens nothing.
//!
//! ```text
//! opened by an address and port, or a network ─► open
//! a name server of the host, at its port      ─► open
//! loopback, private, link-local, multicast …  ─► closed
//! an address of the host itself               ─► closed, which only the host can tell
//! anything else                               ─► open
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};
use kiln_pool::Network;

/// Where name servers answer.
const DNS_PORT: u16 = 53;

/// Networks of which no part is public (IANA's registries of special-purpose addresses), but those for documentation.
const CLOSED_V4: [Ipv4Net; 12] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
];
const CLOSED_V6: [Ipv6Net; 9] = [
    // Unspecified, loopback, and all else that is special and no other form of an older address.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 32),
    // Translation within a site (RFC 8215), whose older address stands nobody knows where.
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    // Teredo: the older address is behind a server of somebody else.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
];
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
const V4_COMPATIBLE: Ipv6Net = v6([0, 0, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// Whether a destination may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Open,
    /// It may unless it is an address of the host itself.
    OpenUnlessHost,
    /// It may not.
    Closed,
}

/// What is open beside public addresses.
#[derive(Debug)]
pub(super) struct Policy(Network);

impl Policy {
    /// Takes what a launch opens.
    pub(super) fn new(network: Network) -> Self {
        Self(network)
    }

    /// Judges one destination. `name_servers` are those of the host.
    pub(super) fn judge(&self, to: SocketAddr, name_servers: &[IpAddr]) -> Verdict {
        let address = canonical(to.ip());
        let hosts = self.0.allow_hosts.iter();
        let by_address = hosts.filter(|open| open.port() == to.port()).any(|open| canonical(open.ip()) == address);
        let by_network = self.0.allow.iter().any(|open| open.contains(&address) || open.contains(&to.ip()));
        let by_name = to.port() == DNS_PORT && name_servers.iter().any(|server| canonical(*server) == address);
        if by_address || by_network || by_name {
            Verdict::Open
        } else if is_closed(address) {
            Verdict::Closed
        } else {
            Verdict::OpenUnlessHost
        }
    }
}

/// The older address that a newer one stands for, if it does.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let low = |at: usize| {
        let bytes = six.octets();
        IpAddr::V4(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]))
    };
    match six {
        _ if six.to_ipv4_mapped().is_some() || NAT64.contains(&six) => low(12),
        _ if SIX_TO_FOUR.contains(&six) => low(2),
        // The first of them are the unspecified address and the loopback.
        _ if V4_COMPATIBLE.contains(&six) && six.to_bits() > 1 => low(12),
        _ => address,
    }
}

fn is_closed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => CLOSED_V4.iter().any(|net| net.contains(&four)),
        IpAddr::V6(six) => CLOSED_V6.iter().any(|net| net.contains(&six)),
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    fn network(allow: &[&str], hosts: &[&str]) -> Network {
        let allow = allow.iter().map(|text| text.parse::<IpNet>().expect("a network")).collect();
        let allow_hosts = hosts.iter().map(|text| text.parse().expect("an address")).collect();
        Network { isolated: true, allow, allow_hosts }
    }

    #[track_caller]
    fn check(policy: &Policy, to: &[&str], expect: Verdict) {
        let servers = ["127.0.0.53".parse().expect("an address"), "fd00::53".parse().expect("an address")];
        for to in to {
            assert_eq!(policy.judge(to.parse().expect("an address"), &servers), expect, "{to}");
        }
    }

    #[test]
    fn the_public_internet_is_open_and_nothing_else() {
        let policy = Policy::new(network(&[], &[]));
        let open = ["8.8.8.8:53", "198.51.100.7:80", "203.0.113.9:1", "192.0.2.1:443", "1.1.1.1:443", "11.0.0.1:1"];
        check(&policy, &open, Verdict::OpenUnlessHost);
        check(&policy, &["[2606:4700::1]:443", "[2a00::1]:22", "[2001:db8::7]:1"], Verdict::OpenUnlessHost);
        check(&policy, &["100.63.255.255:1", "100.128.0.1:1", "172.32.0.1:1", "192.0.1.1:1"], Verdict::OpenUnlessHost);
        let own = ["127.0.0.1:22", "127.9.9.9:22", "0.0.0.0:22", "0.1.2.3:1"];
        let private = ["10.1.2.3:443", "172.16.0.1:1", "172.31.255.255:1", "192.168.0.1:80", "100.64.0.1:1"];
        let other = ["169.254.169.254:80", "192.0.0.192:80", "198.18.0.1:1", "198.19.255.255:1"];
        let many = ["224.0.0.251:5353", "239.1.1.1:1", "240.0.0.1:1", "255.255.255.255:67"];
        for closed in [&own[..], &private, &other, &many] {
            check(&policy, closed, Verdict::Closed);
        }
        let six = ["[::]:22", "[::1]:22", "[fc00::1]:1", "[fd00::7]:80", "[fd00:ec2::254]:80", "[fe80::1]:1"];
        check(&policy, &six, Verdict::Closed);
        check(&policy, &["[fec0::2]:1", "[febf::1]:1", "[ff02::1]:1", "[::2]:1", "[2001::1]:1"], Verdict::Closed);
        check(&policy, &["[64:ff9b:1::1]:1", "[100::1]:1"], Verdict::Closed);
    }

    #[test]
    fn an_older_address_in_another_form_is_the_same() {
        let policy = Policy::new(network(&[], &[]));
        let loopback = ["[::ffff:127.0.0.1]:22", "[::127.0.0.1]:22", "[64:ff9b::7f00:1]:22", "[2002:7f00:1::]:22"];
        check(&policy, &loopback, Verdict::Closed);
        let metadata = ["[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80"];
        check(&policy, &metadata, Verdict::Closed);
        let public = ["[::ffff:198.51.100.7]:80", "[64:ff9b::c633:6407]:80", "[2002:c633:6407::1]:80"];
        check(&policy, &public, Verdict::OpenUnlessHost);
    }

    #[test]
    fn name_servers_are_open_at_their_port() {
        let policy = Policy::new(network(&[], &[]));
        check(&policy, &["127.0.0.53:53", "[::ffff:127.0.0.53]:53", "[fd00::53]:53"], Verdict::Open);
        check(&policy, &["127.0.0.53:80", "127.0.0.1:53", "[fd00::54]:53"], Verdict::Closed);
    }

    #[test]
    fn an_opening_opens_just_that() {
        let policy = Policy::new(network(&["10.9.0.0/16", "fd00::/64"], &["127.0.0.1:5000", "[::1]:5000"]));
        check(&policy, &["10.9.8.7:1", "10.9.0.0:65535", "[::ffff:10.9.8.7]:1", "[fd00::7]:80"], Verdict::Open);
        check(&policy, &["127.0.0.1:5000", "[::ffff:127.0.0.1]:5000", "[::1]:5000"], Verdict::Open);
        check(&policy, &["10.8.8.7:1", "[fd00:0:0:1::7]:80"], Verdict::Closed);
        check(&policy, &["127.0.0.1:5001", "127.0.0.2:5000", "[::1]:5001"], Verdict::Closed);
        check(&policy, &["198.51.100.7:80"], Verdict::OpenUnlessHost);
        check(&Policy::new(network(&["0.0.0.0/0"], &[])), &["127.0.0.1:22", "169.254.169.254:80"], Verdict::Open);
    }
}
