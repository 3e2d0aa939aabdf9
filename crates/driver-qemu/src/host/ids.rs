//! User ids of VMs, where this process may give them some: each its own, which no account has.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The first of the ids that VMs get. systemd's table of ids leaves this range to nobody (UIDS-GIDS, "unused").
const FIRST: u32 = 0x7000_0000;
/// How many there are. Two VMs of one host share one with a chance of one in a million.
const COUNT: u32 = 1 << 24;
/// Capabilities that giving ids away takes, as bits: changing a file's owner, and a process's group and user.
const NEEDED_CAPABILITIES: u64 = 1 << 0 | 1 << 6 | 1 << 7;

/// Who a process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

/// Why VMs run as this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shared {
    /// This process is not root.
    #[error("VMs run as this user; with root's rights each would get a user id of its own")]
    NotRoot,
    /// Root, but without the rights.
    #[error("VMs run as root: this process may not change user ids (it lacks CAP_CHOWN, CAP_SETGID or CAP_SETUID)")]
    NoCapability,
    /// Root of a user namespace with few ids.
    #[error("VMs run as root: this user namespace has no ids from {FIRST} on")]
    NoIds,
}

impl Ids {
    /// The ids of the VM called `name`: the same whenever it is asked.
    pub(crate) fn for_vm(name: &str) -> Result<Self, Shared> {
        available()?;
        let digest = Sha256::digest(name.as_bytes());
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let id = FIRST + number % COUNT;
        Ok(Self { uid: id, gid: id })
    }
}

/// Whether VMs get ids of their own here.
pub(crate) fn available() -> Result<(), Shared> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    judge(crate::host::unix::is_root(), &read("/proc/self/status"), &read("/proc/self/uid_map"))
}

fn judge(root: bool, status: &str, uid_map: &str) -> Result<(), Shared> {
    if !root {
        return Err(Shared::NotRoot);
    }
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default();
    if capabilities & NEEDED_CAPABILITIES != NEEDED_CAPABILITIES {
        return Err(Shared::NoCapability);
    }
    // Each line: first id inside, first id outside, how many.
    let covers = |line: &str| {
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
        let (first, _, count) = (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
        first <= u64::from(FIRST) && first + count >= u64::from(FIRST + COUNT)
    };
    if uid_map.lines().any(covers) { Ok(()) } else { Err(Shared::NoIds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_only_where_they_can_be() {
        let all = "Name:\tx\nCapEff:\t000001fffeffffff\n";
        let check = |root, status, map, expect| assert_eq!(judge(root, status, map), expect, "{status} {map}");
        check(true, all, "         0          0 4294967295\n", Ok(()));
        check(false, all, "         0          0 4294967295\n", Err(Shared::NotRoot));
        check(true, "CapEff:\t0000000000000000\n", "0 0 4294967295\n", Err(Shared::NoCapability));
        check(true, "CapEff:\t000000000000007f\n", "0 0 4294967295\n", Err(Shared::NoCapability));
        check(true, all, "0 1000 1\n1 100000 65536\n", Err(Shared::NoIds));
        check(true, all, "", Err(Shared::NoIds));
    }

    #[test]
    fn each_vm_has_its_own() {
        if available().is_err() {
            return;
        }
        let (one, other) = (Ids::for_vm("i-1").expect("ids"), Ids::for_vm("i-2").expect("ids"));
        assert_ne!(one, other);
        assert_eq!(Ids::for_vm("i-1"), Ok(one));
        let all = FIRST..FIRST + COUNT;
        assert!(all.contains(&one.uid) && all.contains(&other.uid) && !all.contains(&0) && !all.contains(&1000));
    }
}
