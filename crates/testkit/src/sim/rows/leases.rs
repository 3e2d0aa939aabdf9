//! Leases, and the present process of each runner.

use std::collections::BTreeMap;

use kiln_engine::{Holder, Lease, Leasing};

use super::Rows;

impl Rows {
    /// See `Store::enroll`.
    pub fn enroll(&mut self, me: &Holder) {
        self.runners.insert(me.name.clone(), me.process.clone());
    }

    /// See `Store::lease`.
    pub fn lease(&mut self, me: &Holder, wanted: &BTreeMap<String, Option<Lease>>) -> Leasing {
        if self.runners.get(&me.name) != Some(&me.process) {
            return Leasing::Superseded;
        }
        for (name, seen) in wanted {
            let there = self.leases.get(name);
            let stands_still = |lease: &Lease| {
                seen.as_ref().is_some_and(|seen| seen.process == lease.process && seen.beat == lease.beat)
            };
            let may = |lease: &Lease| lease.holder == me.name || lease.holder.is_empty() || stands_still(lease);
            if there.is_none_or(may) {
                let beat = there.map_or(0, |lease| lease.beat + 1);
                let (holder, process) = (me.name.clone(), me.process.clone());
                self.leases.insert(name.clone(), Lease { holder, process, beat });
            }
        }
        Leasing::Rows(self.leases.clone())
    }

    /// See `Store::release_leases`.
    pub fn release_leases(&mut self, me: &Holder) {
        for lease in self.leases.values_mut().filter(|lease| lease.process == me.process) {
            (lease.holder, lease.process) = Default::default();
            lease.beat += 1;
        }
    }
}
