//! What of the runner is up.

use std::sync::{Mutex, PoisonError};

use kiln_wire::runner::kiln::{DriverHealth, HealthReport};

/// Written by whoever knows, read by `/healthz?verbose`.
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
    /// Changes the report; `ready` follows from the rest.
    pub fn update(&self, change: impl FnOnce(&mut HealthReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut report);
        report.ready = report.pools_built && report.store_ok && report.drivers.iter().all(|driver| driver.ok);
    }

    /// Notes how a pass went: `unlisted` are the drivers that could not be listed, of all those in `drivers`.
    pub fn note_pass(&self, now_ms: i64, drivers: &[String], unlisted: &[(String, String)]) {
        let driver = |name: &String| {
            let error = unlisted.iter().find(|(failed, _)| failed == name).map(|(_, error)| error.clone());
            DriverHealth { name: name.clone(), ok: error.is_none(), error: error.unwrap_or_default() }
        };
        self.update(|report| {
            report.drivers = drivers.iter().map(driver).collect();
            report.last_pass_unix_ms = now_ms;
            report.last_pass_error.clear();
            (report.store_ok, report.pools_built) = (true, true);
        });
    }

    /// Notes that a pass could not be finished.
    pub fn note_failed_pass(&self, error: &str) {
        self.update(|report| {
            error.clone_into(&mut report.last_pass_error);
            report.store_ok = false;
        });
    }

    /// The report.
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
        let drivers = ["qemu".to_owned()];
        health.note_pass(5, &drivers, &[]);
        assert!(health.report().ready);
        health.note_pass(6, &drivers, &[("qemu".to_owned(), "no socket".to_owned())]);
        assert_eq!((health.report().ready, health.report().drivers[0].error.as_str()), (false, "no socket"));
        health.note_pass(7, &drivers, &[]);
        health.note_failed_pass("no database");
        assert!(!health.report().ready);
    }
}
