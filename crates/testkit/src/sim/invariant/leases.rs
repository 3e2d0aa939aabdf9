//! Leases.

use std::collections::BTreeMap;

use kiln_engine::{Holder, Lease, Leasing};

use super::super::world::World;

/// Duration of a lease without renewal, by the true time.
const LEASE_MS: i64 = 15_000;

/// Checks an answer to a process that asked for leases.
pub fn leased(w: &mut World, runner: usize, me: &Holder, before: &BTreeMap<String, Lease>, answer: &Leasing) {
    let now = w.now_ms();
    let Leasing::Rows(rows) = answer else { return w.say(&format!("r{runner} {} is superseded", me.process)) };
    let mut new = Vec::new();
    for (name, lease) in rows.iter().filter(|(name, lease)| before.get(*name) != Some(lease)) {
        let beat_ms = w.marks.beats_ms.insert(name.clone(), now);
        match before.get(name).filter(|old| old.process != lease.process) {
            Some(old) if !old.holder.is_empty() && old.holder != lease.holder => {
                let ago = now - beat_ms.unwrap_or(0);
                if ago < LEASE_MS {
                    let what = format!("{name} is taken from {}, who renewed it {ago} ms ago", old.process);
                    w.violate("leases_are_kept", what);
                }
            }
            None if before.contains_key(name) => continue,
            _ => {}
        }
        new.push(name.as_str());
    }
    if !new.is_empty() {
        let new = new.join(" ");
        w.say(&format!("{} leases {new}", me.name));
    }
}
