//! Leases decide which pools and sites this process works on.
//!
//! ```text
//!              nobody holds it, or an older process of this runner does
//! not held ──────────────────────────────────────────────────────────────► held ─┐ renewed: its beat grows
//!    ▲   └── another's beat has stood still for LEASE_MS: compare-and-swap ──► ▲ └─┘
//!    └──────────────── not renewed for LEASE_MS ─────────────────────────────────
//! ```
//! No wall clock is involved. The holder counts from before it asked, and a rival from after it first saw the current
//! beat, each by its own uptime. So the holder's lease always ends before a rival's can begin.

use std::collections::{BTreeMap, BTreeSet};

use kiln_pool::plan::MISSING_AFTER_MS;

use crate::Engine;
use crate::world::{Lease, Leasing, StoreError};

/// How long a lease lasts unless it is renewed, in milliseconds.
const LEASE_MS: i64 = 15_000;
/// Remaining time of a lease below which it is renewed, in milliseconds.
const RENEW_BELOW_MS: i64 = 10_000;
/// Pause between two looks at the leases of others, in milliseconds.
const LOOK_EVERY_MS: i64 = 1_000;

/// This process's knowledge of the leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    enrolled: bool,
    superseded: bool,
    /// The uptime until which each lease is held, by its name.
    held: BTreeMap<String, i64>,
    /// All rows of leases, each with the uptime at which it was first seen with its current beat.
    seen: BTreeMap<String, (Lease, i64)>,
    looked_ms: Option<i64>,
}

impl Leases {
    /// Returns the names of the leases that are held at this uptime.
    pub(crate) fn held(&self, uptime_ms: i64) -> BTreeSet<String> {
        self.held.iter().filter(|(_, until)| **until > uptime_ms).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the names of the leases that this process held when the store last answered, whether or not they could
    /// be renewed since.
    pub(crate) fn last_known(&self) -> BTreeSet<String> {
        self.held.keys().cloned().collect()
    }

    /// Returns the leases to ask for, each with the beat at which it may be taken from its holder, or none when there
    /// is no need to ask.
    ///
    /// Leases in `left` belong to pools that are no longer in the pool file. They are not renewed, because another
    /// runner's file may have the pool. This process takes them again only when they have not been renewed for a longer
    /// time.
    fn wanted(
        &self,
        own: &BTreeSet<String>,
        left: &BTreeSet<String>,
        uptime_ms: i64,
    ) -> Option<BTreeMap<String, Option<Lease>>> {
        let lasts = |name: &String, ms: i64| self.held.get(name).is_some_and(|until| until - uptime_ms > ms);
        let looked = self.looked_ms.is_some_and(|at| uptime_ms - at < LOOK_EVERY_MS);
        let due = |name: &String| if lasts(name, 0) { !lasts(name, RENEW_BELOW_MS) } else { !looked };
        let still = |name: &String, ms: i64| {
            let (lease, since) = self.seen.get(name)?;
            (uptime_ms - since >= ms).then(|| lease.clone())
        };
        let idle = |name: &&String| {
            !lasts(name, 0) && (!self.seen.contains_key(*name) || still(name, MISSING_AFTER_MS).is_some())
        };
        let left: Vec<&String> = left.iter().filter(idle).collect();
        if !own.iter().any(due) && (looked || left.is_empty()) {
            return None;
        }
        let all = own.iter().chain(left);
        Some(all.map(|name| (name.clone(), still(name, LEASE_MS))).collect())
    }

    /// Records the rows of an answer. `asked_ms` is the uptime before the question, `uptime_ms` the uptime after the
    /// answer.
    fn note(
        &mut self,
        process: &str,
        wanted: &BTreeMap<String, Option<Lease>>,
        rows: BTreeMap<String, Lease>,
        asked_ms: i64,
        uptime_ms: i64,
    ) {
        self.looked_ms = Some(asked_ms);
        let mine = |name: &String| rows.get(name).is_some_and(|lease| lease.process == process);
        self.held.retain(|name, _| mine(name));
        self.held.extend(wanted.keys().filter(|name| mine(name)).map(|name| (name.clone(), asked_ms + LEASE_MS)));
        let before = std::mem::take(&mut self.seen);
        let since = |name: &String, lease: &Lease| match before.get(name) {
            Some((same, since)) if same == lease => *since,
            _ => uptime_ms,
        };
        self.seen =
            rows.into_iter().map(|(name, lease)| (name.clone(), (lease.clone(), since(&name, &lease)))).collect();
    }
}

impl Engine {
    /// Renews and takes leases where possible, and returns all that this process holds. Returns none when a later
    /// process of this runner has started, so that this one must not act any more.
    pub(crate) async fn lease(
        &self,
        own: &BTreeSet<String>,
        left: &BTreeSet<String>,
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        let asked_ms = self.host.uptime_ms();
        let wanted = {
            let leases = &self.memory().leases;
            if leases.superseded {
                return Ok(None);
            }
            leases.wanted(own, left, asked_ms)
        };
        if let Some(wanted) = wanted {
            if !self.memory().leases.enrolled {
                self.store.enroll(&self.me).await?;
                self.memory().leases.enrolled = true;
            }
            match self.store.lease(&self.me, &wanted).await? {
                Leasing::Superseded => {
                    tracing::error!(
                        runner = self.me.name,
                        "another process of this runner's name was started; this one ends"
                    );
                    self.memory().leases = Leases { superseded: true, ..Leases::default() };
                    self.host.signal();
                    return Ok(None);
                }
                Leasing::Rows(rows) => {
                    let uptime_ms = self.host.uptime_ms();
                    self.memory().leases.note(&self.me.process, &wanted, rows, asked_ms, uptime_ms);
                }
            }
        }
        let held = self.memory().leases.held(self.host.uptime_ms());
        Ok(Some(held.into_iter().filter(|name| own.contains(name) || left.contains(name)).collect()))
    }

    /// Tells whether a later process of this runner's name has started, so that this one must end.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.memory().leases.superseded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn lease(process: &str, beat: i64) -> Lease {
        Lease { holder: process.to_uppercase(), process: process.to_owned(), beat }
    }

    fn rows(list: &[(&str, &str, i64)]) -> BTreeMap<String, Lease> {
        list.iter().map(|(name, process, beat)| ((*name).to_owned(), lease(process, *beat))).collect()
    }

    /// A process `me` that wants the leases `a` and `b`.
    struct Process(Leases);

    impl Process {
        fn asks(&self, uptime_ms: i64) -> Option<BTreeMap<String, Option<Lease>>> {
            self.0.wanted(&names(&["a", "b"]), &names(&["left"]), uptime_ms)
        }

        fn told(&mut self, uptime_ms: i64, rows: BTreeMap<String, Lease>) {
            let wanted = self.asks(uptime_ms).unwrap_or_default();
            self.0.note("me", &wanted, rows, uptime_ms, uptime_ms + 100);
        }
    }

    #[test]
    fn a_beat_that_stands_still_is_taken_and_one_that_grows_is_not() {
        let mut me = Process(Leases::default());
        assert_eq!(me.asks(0).unwrap().len(), 3);
        me.told(0, rows(&[("a", "me", 0), ("b", "other", 7), ("left", "me", 0)]));
        assert_eq!(me.0.held(0), names(&["a", "left"]));
        assert_eq!(me.asks(LOOK_EVERY_MS - 1), None);
        assert_eq!(me.asks(LOOK_EVERY_MS).unwrap(), BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), None)]));
        me.told(4_000, rows(&[("a", "me", 1), ("b", "other", 8), ("left", "me", 0)]));
        let beat = |me: &Process, at: i64| me.asks(at).unwrap()["b"].clone();
        assert_eq!(beat(&me, 4_100 + LEASE_MS - 1), None);
        assert_eq!(beat(&me, 4_100 + LEASE_MS), Some(lease("other", 8)));
    }

    #[test]
    fn what_is_held_is_renewed_in_time_and_what_left_is_not() {
        let mut me = Process(Leases::default());
        let all = [("a", "me", 0), ("b", "me", 0), ("left", "me", 0)];
        me.told(0, rows(&all));
        assert_eq!(me.asks(LEASE_MS - RENEW_BELOW_MS - 1), None);
        let asked = me.asks(LEASE_MS - RENEW_BELOW_MS).unwrap();
        assert!(asked.keys().eq(["a", "b"]), "{asked:?}");
        me.told(LEASE_MS - 1, rows(&[("a", "me", 1), ("b", "me", 1), ("left", "me", 0)]));
        assert_eq!(me.0.held(LEASE_MS), names(&["a", "b"]), "it was given up");
        let asked = |at: i64| me.asks(at).unwrap_or_default().contains_key("left");
        assert!(!asked(MISSING_AFTER_MS + 99));
        assert!(asked(MISSING_AFTER_MS + 100));
    }

    #[test]
    fn a_lease_that_another_took_is_not_held() {
        let mut me = Process(Leases::default());
        me.told(0, rows(&[("a", "me", 0), ("b", "me", 0)]));
        me.told(LEASE_MS + 1, rows(&[("a", "other", 1), ("b", "me", 1)]));
        assert_eq!(me.0.held(LEASE_MS + 1), names(&["b"]));
    }
}
