//! What of the runner is up, and whether it can still write down what it does.
//!
//! A runner whose database takes no writes, because the disk is full or the server is gone, answers requests but ends no
//! stage and starts none. It is told apart from a short hiccup by time: each write that succeeds, and each that fails, is noted
//! here by whoever made it, and `/healthz` turns red when only failures were noted for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kiln_engine::PassReport;
use kiln_pool::SiteId;
use kiln_wire::runner::kiln::{DriverHealth, HealthReport};
use tokio::time::Instant;

/// The state of the runner's parts. The engine's loop writes it, `/healthz` reads it.
#[derive(Debug)]
pub struct Health {
    report: Mutex<HealthReport>,
    unwritten: Mutex<Option<Unwritten>>,
}

/// The failures to write since the last write that succeeded.
#[derive(Debug, Clone)]
pub(super) struct Unwritten {
    /// The first failure since the last success.
    since: Instant,
    /// The latest failure.
    error: String,
}

impl Unwritten {
    /// How long ago the first failure was, in whole seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    pub(super) fn error(&self) -> &str {
        &self.error
    }
}

impl Default for Health {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            report: Mutex::new(HealthReport { version, store_ok: true, ..HealthReport::default() }),
            unwritten: Mutex::default(),
        }
    }
}

impl Health {
    /// Changes the report and works out `ready` from the rest of it.
    pub fn update(&self, change: impl FnOnce(&mut HealthReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut report);
        report.ready = report.pools_built && report.store_ok && report.drivers.iter().all(|driver| driver.ok);
    }

    /// Notes that a pass was finished. It renews the runner's leases, so it is a write that succeeded.
    pub fn note_pass(&self, now_ms: i64, pass: &PassReport) {
        let driver = |(site, trouble): (&SiteId, &Option<String>)| DriverHealth {
            name: site.to_string(),
            ok: trouble.is_none(),
            error: trouble.clone().unwrap_or_default(),
        };
        self.update(|report| {
            report.drivers = pass.sites.iter().map(driver).collect();
            report.last_pass_unix_ms = now_ms;
            report.last_pass_error.clear();
            (report.store_ok, report.pools_built) = (true, true);
        });
        self.note_written();
    }

    /// Notes that a pass could not be finished, which only a failure of the database brings about.
    pub fn note_failed_pass(&self, error: &str) {
        self.note_unwritten(error);
        self.update(|report| {
            error.clone_into(&mut report.last_pass_error);
            report.store_ok = false;
        });
    }

    /// Notes that a write succeeded.
    pub fn note_written(&self) {
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that a write failed.
    pub fn note_unwritten(&self, error: &str) {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let since = unwritten.as_ref().map_or_else(Instant::now, |before| before.since);
        *unwritten = Some(Unwritten { since, error: error.to_owned() });
    }

    /// The failures to write since the last success, if the first of them is at least so long ago.
    pub(super) fn unwritten(&self, limit: Duration) -> Option<Unwritten> {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unwritten.filter(|unwritten| unwritten.since.elapsed() >= limit)
    }

    /// Returns the report.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_all_of_it() {
        let health = Health::default();
        assert!(!health.report().ready);
        let pass = |trouble: Option<&str>| PassReport {
            sites: [("qemu:a".into(), trouble.map(str::to_owned))].into(),
            ..PassReport::default()
        };
        health.note_pass(5, &pass(None));
        assert!(health.report().ready);
        health.note_pass(6, &pass(Some("no socket")));
        assert_eq!((health.report().ready, health.report().drivers[0].error.as_str()), (false, "no socket"));
        health.note_pass(7, &pass(None));
        health.note_failed_pass("no database");
        assert!(!health.report().ready);
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_for_a_while_are_told() {
        const LIMIT: Duration = Duration::from_secs(30);
        let health = Health::default();
        let told = || health.unwritten(LIMIT).map(|unwritten| (unwritten.seconds(), unwritten.error().to_owned()));
        health.note_failed_pass("the disk is full");
        assert_eq!(told(), None);
        tokio::time::advance(LIMIT).await;
        health.note_unwritten("the disk is still full");
        assert_eq!(told(), Some((30, "the disk is still full".to_owned())));
        health.note_pass(1, &PassReport::default());
        assert_eq!(told(), None);
        // The time begins anew.
        health.note_unwritten("the disk is full again");
        tokio::time::advance(LIMIT / 2).await;
        assert_eq!(told(), None);
    }
}
