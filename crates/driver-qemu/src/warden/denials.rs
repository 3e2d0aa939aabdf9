//! What a VM was refused, told to people: once for each destination, and not for ever.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// How many destinations are told.
const MOST: usize = 32;
/// What the host's loopback is to a VM.
const HOST_IN_VMS: &str = "10.0.2.2";

/// The destinations that were told.
#[derive(Debug, Default)]
pub(super) struct Denials {
    told: HashSet<SocketAddr>,
}

impl Denials {
    /// Returns what to tell about a refusal; none if there is nothing new to it.
    pub(super) fn of(&mut self, to: SocketAddr) -> Option<String> {
        // Programs call into the blue to find their neighbours; nobody misses an answer.
        let blue = to.ip().is_multicast() || matches!(to.ip(), IpAddr::V4(four) if four.is_broadcast());
        if blue || self.told.len() >= MOST || !self.told.insert(to) {
            return None;
        }
        let seen = match to.ip() {
            IpAddr::V4(four) if four.is_loopback() => format!(" (in the VM {HOST_IN_VMS}:{})", to.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => String::new(),
        };
        let last = if self.told.len() == MOST { "; further destinations are not told" } else { "" };
        let way = match to.ip() {
            // Nobody is invited to open these.
            IpAddr::V4(four) if four.is_link_local() => {
                "clouds hand out this machine's rights at such addresses (docs/security.md, What a VM reaches)"
                    .to_owned()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {
                format!("`kiln run --allow-host {to}` opens it, or a pool's `kiln.network`")
            }
        };
        Some(format!("the VM may not reach {to}{seen}: {way}{last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once() {
        let mut denials = Denials::default();
        let mut told = |to: &str| denials.of(to.parse().expect("an address"));
        let text = told("10.1.2.3:443").expect("it is told");
        assert!(text.contains("may not reach 10.1.2.3:443: `kiln run --allow-host 10.1.2.3:443`"), "{text}");
        assert_eq!(told("10.1.2.3:443"), None);
        assert!(told("127.0.0.1:5000").expect("it is told").contains("(in the VM 10.0.2.2:5000)"));
        let metadata = told("169.254.169.254:80").expect("it is told");
        assert!(metadata.contains("rights") && !metadata.contains("--allow-host"), "{metadata}");
        assert_eq!((told("224.0.0.251:5353"), told("[ff02::fb]:5353"), told("255.255.255.255:67")), (None, None, None));
        let more = (1..).map_while(|port| told(&format!("10.0.0.1:{port}"))).collect::<Vec<_>>();
        assert_eq!(more.len(), MOST - 3);
        assert!(more.last().expect("one").contains("not told"));
    }
}
