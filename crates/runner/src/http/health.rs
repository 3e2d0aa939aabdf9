//! The state of the runner's parts, as its passes see it. The store knows whether writes succeed.

use std::sync::{Mutex, PoisonError};

use kiln_engine::PassReport;
use kiln_pool::SiteId;
use kiln_wire::runner::kiln::{DriverHealth, HealthReport};

/// The state of the runner's parts. The engine's loop writes it, `/healthz` reads it.
#[derive(Debug)]
pub struct Health {
    report: Mutex<HealthReport>,
}

impl Default for Health {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { report: Mutex::new(HealthReport { version, store_ok: true, ..HealthReport::default() }) }
    }
}

impl Health {
    /// Changes the report and derives `ready` from the rest of it.
    pub fn update(&self, change: impl FnOnce(&mut HealthReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut report);
        report.ready = report.pools_built && report.store_ok && report.drivers.iter().all(|driver| driver.ok);
    }

    /// Records a finished pass.
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
    }

    /// Records a pass that could not be finished. Only a failure of the database causes that.
    pub fn note_failed_pass(&self, error: &str) {
        self.update(|report| {
            error.clone_into(&mut report.last_pass_error);
            report.store_ok = false;
        });
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
}
