//! Counters and histograms, which are updated as things happen.

use std::time::Duration;

use kiln_engine::{Assigned, Demand, Engine, PassReport, StoreError};
use kiln_pool::{Cause, Code, Config};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use super::series::{ACCOUNTS_IN_HISTOGRAMS_MAX, ACCOUNTS_MAX, Accounts, Counters, Gauges, Histograms};
use super::{Labels, gauges};

/// Counters and histograms of the runner.
pub struct Metrics {
    registry: Registry,
    errors: Counters,
    executions: Counters,
    execution_errors: Counters,
    // This is a counter, but the incumbent's name lacks the suffix that the text form appends to counters.
    fallbacks: Gauges,
    wait: Histograms,
    init: Histograms,
    init_attempts: Counters,
    claim_seconds: Histograms,
    boot_seconds: Histograms,
    actions: Counters,
    steps: Counters,
    accounts: Accounts,
}

/// The values of a stage's request that become labels.
#[derive(Debug, Clone)]
pub(in crate::http) struct Asked {
    pool: String,
    account: String,
    class: String,
}

impl Asked {
    pub(in crate::http) fn of(demand: &Demand) -> Self {
        let request = &demand.request;
        Self { pool: request.pool.clone(), account: request.account.clone(), class: request.resource_class.clone() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        Self {
            errors: Counters::new(r, "harness_ci_errors", "Stages that got no instance"),
            executions: Counters::new(r, "harness_ci_pipeline_execution", "Stages that were set up"),
            execution_errors: Counters::new(r, "harness_ci_pipeline_execution_errors", "Stages that got no instance"),
            fallbacks: Gauges::new(r, "harness_ci_pipeline_pool_fallbacks", "Stages served by a fallback pool"),
            wait: Histograms::new(r, "harness_ci_runner_wait_duration_seconds", "Time from the request to the claim"),
            init: Histograms::new(
                r,
                "harness_ci_runner_total_vm_init_duration_seconds",
                "Time from the request to its answer",
            ),
            init_attempts: Counters::new(r, "runner_vm_init_attempts", "Requests for an instance by their outcome"),
            claim_seconds: Histograms::new(r, "kiln_claim_seconds", "Time from the request to the claim"),
            boot_seconds: Histograms::new(
                r,
                "kiln_boot_seconds",
                "Time from an instance's row to its agent's first answer, for claimed instances",
            ),
            actions: Counters::new(r, "kiln_actions", "Planned actions"),
            steps: Counters::new(r, "kiln_steps", "Steps by their outcome"),
            accounts: Accounts::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Counts the actions that a pass planned.
    pub fn note_pass(&self, report: &PassReport) {
        for planned in &report.planned {
            self.actions.of(&vec![("action", planned.action.name().to_owned())]).inc();
        }
    }

    /// Counts a stage whose instance was prepared, `took` after its request.
    pub(in crate::http) fn set_up(&self, config: &Config, asked: &Asked, assigned: &Assigned, took: Duration) {
        let Assigned { stage, instance } = assigned;
        let since_asked = |at: Option<i64>| at.map_or(0, |at| at - stage.created_ms);
        let warmed = instance.ready_ms.is_some_and(|ready| ready <= stage.created_ms);
        let fallback = instance.pool != asked.pool;
        let mut labels = self.pool_labels(config, &instance.pool, &asked.account);
        labels.push(("image_name", instance.image.clone()));
        labels.push(("image_version", String::new()));
        labels.push(("variant_id", variant(config, &instance.flavor)));
        let with = |more: &[(&'static str, String)]| [labels.as_slice(), more].concat();
        let class = ("resource_class", known_class(config, asked));
        self.executions.of(&with(&[class.clone(), ("zone", String::new())])).inc();
        if fallback {
            self.fallbacks.of(&with(&[class, ("success", "true".to_owned())])).inc();
        }
        let mut timed = with(&[
            ("is_fallback", fallback.to_string()),
            ("warmed", warmed.to_string()),
            ("hibernated", "false".to_owned()),
        ]);
        let owner = self.accounts.label(&asked.account, ACCOUNTS_IN_HISTOGRAMS_MAX);
        timed.iter_mut().filter(|(name, _)| *name == "owner_id").for_each(|(_, value)| value.clone_from(&owner));
        let waited = milliseconds(since_asked(stage.assigned_ms));
        self.wait.of(&timed).observe(waited);
        self.init.of(&timed).observe(took.as_secs_f64());
        let source = if warmed { "hotpool" } else { "ondemand" };
        self.attempt(&instance.pool, source, "success", "none");
        let pool = vec![("pool", instance.pool.clone())];
        self.claim_seconds.of(&pool).observe(waited);
        if let Some(ready) = instance.ready_ms {
            self.boot_seconds.of(&pool).observe(milliseconds(ready - instance.created_ms));
        }
    }

    /// Counts a stage that got no instance.
    pub(in crate::http) fn set_up_failed(&self, config: &Config, asked: &Asked, cause: Option<&Cause>) {
        let owner = self.account(&asked.account);
        self.errors.of(&vec![("owner_id", owner), ("distributed", "false".to_owned())]).inc();
        let mut labels = self.pool_labels(config, &asked.pool, &asked.account);
        labels.push(("resource_class", known_class(config, asked)));
        labels.push(("image_name", String::new()));
        labels.push(("image_version", String::new()));
        self.execution_errors.of(&labels).inc();
        let pool = config.pools.get(&asked.pool).map_or("", |pool| pool.name.as_str());
        self.attempt(pool, "ondemand", "error", reason(cause));
    }

    /// Counts a step that ended, or was lost with its instance.
    pub(in crate::http) fn step(&self, pool: &str, outcome: &str) {
        self.steps.of(&vec![("pool", pool.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    fn attempt(&self, pool: &str, source: &str, outcome: &str, reason: &str) {
        let labels = [("pool_id", pool), ("zone", ""), ("vm_type", ""), ("source", source)];
        let labels = labels.into_iter().chain([("outcome", outcome), ("reason", reason)]);
        let labels: Labels = labels.map(|(name, value)| (name, value.to_owned())).collect();
        self.init_attempts.of(&labels).inc();
    }

    /// Returns the labels of a pool. They are empty for an unknown pool, because a request can name any.
    fn pool_labels(&self, config: &Config, pool: &str, account: &str) -> Labels {
        let [name, os, arch, driver] = match config.pools.get(pool) {
            Some(pool) => [&pool.name, &pool.os, &pool.arch, &pool.driver].map(Clone::clone),
            None => Default::default(),
        };
        vec![
            ("pool_id", name),
            ("os", os),
            ("arch", arch),
            ("driver", driver),
            ("distributed", "false".to_owned()),
            ("owner_id", self.account(account)),
        ]
    }

    fn account(&self, account: &str) -> String {
        self.accounts.label(account, ACCOUNTS_MAX)
    }

    /// Returns all metrics in the text form of OpenMetrics.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(in crate::http) async fn text(&self, engine: &Engine, connections: i64) -> Result<String, StoreError> {
        let (instances, stages) = (engine.store().live_instances().await?, engine.store().open_stages().await?);
        let now = gauges::of(&engine.config(), &instances, &stages, connections, |account| self.account(account));
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text));
        // Writing to a string cannot fail.
        written.map_err(|error| StoreError { message: error.to_string(), ambiguous: false })?;
        Ok(text)
    }
}

#[allow(clippy::cast_precision_loss)]
fn milliseconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}

fn variant(config: &Config, flavor: &str) -> String {
    config.flavor(flavor).and_then(|(_, flavor)| flavor.variant.clone()).unwrap_or_default()
}

/// Returns the resource class, or an empty one if the pool has no such class.
fn known_class(config: &Config, asked: &Asked) -> String {
    let flavors = config.pools.get(&asked.pool).map(|pool| pool.flavors.as_slice()).unwrap_or_default();
    let known = flavors.iter().any(|flavor| flavor.resource_class.as_ref() == Some(&asked.class));
    if known { asked.class.clone() } else { String::new() }
}

/// Returns the incumbent's word for a cause.
fn reason(cause: Option<&Cause>) -> &'static str {
    match cause.map(|cause| cause.code) {
        Some(Code::NoCapacity) => "pool_exhausted",
        Some(Code::LaunchFailed | Code::NoRoom | Code::LaunchTimeout) => "cloud_create_failed",
        Some(Code::HibernateFailed) => "resume_failed",
        Some(
            Code::BootTimeout
            | Code::DiedBooting
            | Code::Died
            | Code::Vanished
            | Code::Unreachable
            | Code::AgentRestarted
            | Code::AgentTampered,
        ) => "health_failed",
        Some(Code::SetupFailed) => "setup_failed",
        Some(Code::StageDeadline | Code::Unattended) => "timeout",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_series_without_end() {
        let (metrics, config) = (Metrics::default(), Config::default());
        for n in 0..ACCOUNTS_MAX * 3 {
            let name = |what: &str| format!("{what}-{n}");
            let asked = Asked { pool: name("pool"), account: name("account"), class: name("class") };
            metrics.set_up_failed(&config, &asked, None);
        }
        let mut text = String::new();
        encode_registry(&mut text, &metrics.registry).expect("text");
        let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(of("harness_ci_errors_total{"), ACCOUNTS_MAX + 1);
        assert_eq!(of("harness_ci_pipeline_execution_errors_total{"), ACCOUNTS_MAX + 1);
        assert_eq!(of("runner_vm_init_attempts_total{"), 1);
        assert!(!text.contains("pool-7") && !text.contains("class-7"));
    }
}
