//! What a pool's registries and caches open to its VMs: those that have a private address here, and nothing beside them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kiln_pool::Network;

use super::registry::HOST_IN_VMS;
use super::wish::Wish;

/// Where a registry answers that names no port.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

impl Wish {
    /// Adds what it names by an address to what is open. A name, or a public address, needs no opening.
    pub(crate) fn opened(&self, mut network: Network) -> Network {
        let mirror = self.registry_mirror.iter().filter_map(|url| at_url(url));
        let cache = self.build_cache.iter().filter_map(|place| match place.strip_prefix("type=s3,") {
            Some(words) => words.split(',').filter_map(|word| word.strip_prefix("endpoint_url=")).find_map(at_url),
            None => at(place.split('/').next().unwrap_or_default(), HTTPS),
        });
        let insecure = self.insecure_registries.iter();
        let named = mirror.chain(cache).chain(insecure.filter_map(|host| at(host, HTTP))).collect::<Vec<_>>();
        for opening in named {
            if !network.allow_hosts.contains(&opening) {
                network.allow_hosts.push(opening);
            }
        }
        network
    }
}

fn at_url(url: &str) -> Option<SocketAddr> {
    let (scheme, rest) = url.split_once("://")?;
    at(rest.split('/').next()?, if scheme == "http" { HTTP } else { HTTPS })
}

/// The host itself has another address in VMs.
fn at(host: &str, port: u16) -> Option<SocketAddr> {
    let address = host.parse().or_else(|_| host.parse().map(|ip: IpAddr| SocketAddr::new(ip, port))).ok()?;
    let own: Ipv4Addr = HOST_IN_VMS.parse().ok()?;
    Some(if address.ip() == own { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pool_names_by_its_address_is_open() {
        let check = |wish: Wish, expect: &[&str]| {
            let opened = wish.opened(Network::default());
            let found: Vec<String> = opened.allow_hosts.iter().map(ToString::to_string).collect();
            assert_eq!(found, expect, "{wish:?}");
            assert!(opened.isolated && opened.allow.is_empty());
        };
        let mirror = |url: &str| Wish { registry_mirror: Some(url.to_owned()), ..Wish::default() };
        let cache = |place: &str| Wish { build_cache: Some(place.to_owned()), ..Wish::default() };
        check(mirror("http://10.0.2.2:5000"), &["127.0.0.1:5000"]);
        check(mirror("http://10.1.2.3"), &["10.1.2.3:80"]);
        check(mirror("https://10.1.2.3/"), &["10.1.2.3:443"]);
        check(mirror("https://registry.example:5000"), &[]);
        check(cache("10.0.2.2:5000/team/cache"), &["127.0.0.1:5000"]);
        check(cache("registry.example/cache"), &[]);
        check(
            cache("type=s3,bucket=b,region=r,endpoint_url=http://10.0.2.2:9000,use_path_style=true"),
            &["127.0.0.1:9000"],
        );
        check(cache("type=s3,bucket=b,region=r"), &[]);
        let insecure = vec!["10.0.2.2:5000".to_owned(), "r.example:5000".to_owned()];
        let both = Wish { insecure_registries: insecure, ..mirror("http://10.0.2.2:5000") };
        check(both, &["127.0.0.1:5000"]);
    }
}
