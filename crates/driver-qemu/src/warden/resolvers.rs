//! The name servers of the host, read again whenever their file has changed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Where they stand; QEMU passes its guests' queries on to the first of them.
const FILE: &str = "/etc/resolv.conf";
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No more of them are believed; a resolver asks three.
const MOST: usize = 16;

/// The name servers.
#[derive(Debug)]
pub(super) struct Resolvers {
    file: PathBuf,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    servers: Vec<IpAddr>,
}

impl Default for Resolvers {
    fn default() -> Self {
        Self { file: FILE.into(), looked: None, changed: None, servers: Vec::new() }
    }
}

impl Resolvers {
    /// Those that hold now.
    pub(super) fn now(&mut self) -> &[IpAddr] {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            // A file that is gone has none, as long as it is gone.
            let changed = std::fs::metadata(&self.file).and_then(|meta| meta.modified()).ok();
            if changed.is_none() || changed != self.changed {
                self.servers = parse(&std::fs::read_to_string(&self.file).unwrap_or_default());
                self.changed = changed;
            }
        }
        &self.servers
    }
}

fn parse(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next())??;
        // A link-local one names its interface behind a `%`.
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_file_are_read() {
        let check = |text: &str, expect: &[&str]| {
            let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expect, "{text}");
        };
        check("# a\nnameserver 127.0.0.53\noptions edns0\nsearch x\n", &["127.0.0.53"]);
        check("nameserver 10.0.0.1\n nameserver\tfe80::1%eth0 \nnameserver", &["10.0.0.1", "fe80::1"]);
        check("nameservers 10.0.0.1\nnameserver x\n;nameserver 10.0.0.2", &[]);
    }

    #[test]
    fn a_file_that_changes_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("resolv.conf");
        let mut resolvers = Resolvers { file: file.clone(), ..Resolvers::default() };
        assert_eq!(resolvers.now(), [] as [IpAddr; 0]);
        std::fs::write(&file, "nameserver 10.0.0.1").expect("write");
        resolvers.looked = None;
        assert_eq!(resolvers.now().len(), 1);
        std::fs::write(&file, "nameserver 10.0.0.1\nnameserver 10.0.0.2").expect("write");
        assert_eq!(resolvers.now().len(), 1, "it is not looked at for every datagram");
        std::fs::File::open(&file).and_then(|open| open.set_modified(SystemTime::UNIX_EPOCH)).expect("another date");
        resolvers.looked = None;
        assert_eq!(resolvers.now().len(), 2);
    }
}
