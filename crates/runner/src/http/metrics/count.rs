//! What is counted as it happens.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kiln_engine::{Assigned, Demand, Engine, PassReport, StoreError};
use kiln_pool::{Cause, Code, Config};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{Labels, gauges};

/// Accounts that have labels of their own; the rest share one.
const ACCOUNTS: usize = 10_000;
/// Their label.
const OTHERS: &str = "other";

type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    // 50 ms to 27 min: from a warm claim to a wait for capacity.
    Histogram::new(exponential_buckets(0.05, 2.0, 16))
}

/// Counters and histograms of the runner.
pub struct Metrics {
    registry: Registry,
    errors: Counters,
    executions: Counters,
    execution_errors: Counters,
    // A counter, whose name the incumbent gives without the ending that the text form adds to counters.
    fallbacks: Family<Labels, Gauge>,
    wait: Histograms,
    init: Histograms,
    init_attempts: Counters,
    claim_seconds: Histograms,
    boot_seconds: Histograms,
    actions: Counters,
    steps: Counters,
    accounts: Mutex<HashSet<String>>,
}

/// What a stage asked for, as far as it is counted.
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
        let counters = |registry: &mut Registry, name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        let histograms = |registry: &mut Registry, name: &str, help: &str| {
            let family = Histograms::new_with_constructor(seconds);
            registry.register(name, help, family.clone());
            family
        };
        let fallbacks = Family::default();
        registry.register("harness_ci_pipeline_pool_fallbacks", "Stages served by a fallback pool", fallbacks.clone());
        let r = &mut registry;
        Self {
            errors: counters(r, "harness_ci_errors", "Stages that got no instance"),
            executions: counters(r, "harness_ci_pipeline_execution", "Stages that were set up"),
            execution_errors: counters(r, "harness_ci_pipeline_execution_errors", "Stages that got no instance"),
            fallbacks,
            wait: histograms(r, "harness_ci_runner_wait_duration_seconds", "From the request to the claim"),
            init: histograms(r, "harness_ci_runner_total_vm_init_duration_seconds", "From the request to its answer"),
            init_attempts: counters(r, "runner_vm_init_attempts", "Requests for an instance by their outcome"),
            claim_seconds: histograms(r, "kiln_claim_seconds", "From the request to the claim"),
            boot_seconds: histograms(r, "kiln_boot_seconds", "From an instance's row to its agent, of claimed ones"),
            actions: counters(r, "kiln_actions", "What was planned"),
            steps: counters(r, "kiln_steps", "Steps by their outcome"),
            accounts: Mutex::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Counts what a pass planned.
    pub fn note_pass(&self, report: &PassReport) {
        for planned in &report.planned {
            self.actions.get_or_create(&vec![("action", planned.action.name().to_owned())]).inc();
        }
    }

    /// A stage's instance was prepared.
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
        self.executions.get_or_create(&with(&[class.clone(), ("zone", String::new())])).inc();
        if fallback {
            self.fallbacks.get_or_create(&with(&[class, ("success", "true".to_owned())])).inc();
        }
        let timed = with(&[
            ("is_fallback", fallback.to_string()),
            ("warmed", warmed.to_string()),
            ("hibernated", "false".to_owned()),
        ]);
        let waited = milliseconds(since_asked(stage.assigned_ms));
        self.wait.get_or_create(&timed).observe(waited);
        self.init.get_or_create(&timed).observe(took.as_secs_f64());
        let source = if warmed { "hotpool" } else { "ondemand" };
        self.attempt(&instance.pool, source, "success", "none");
        let pool = vec![("pool", instance.pool.clone())];
        self.claim_seconds.get_or_create(&pool).observe(waited);
        if let Some(ready) = instance.ready_ms {
            self.boot_seconds.get_or_create(&pool).observe(milliseconds(ready - instance.created_ms));
        }
    }

    /// A stage got no instance.
    pub(in crate::http) fn set_up_failed(&self, config: &Config, asked: &Asked, cause: Option<&Cause>) {
        let owner = self.account(&asked.account);
        self.errors.get_or_create(&vec![("owner_id", owner), ("distributed", "false".to_owned())]).inc();
        let mut labels = self.pool_labels(config, &asked.pool, &asked.account);
        labels.push(("resource_class", known_class(config, asked)));
        labels.push(("image_name", String::new()));
        labels.push(("image_version", String::new()));
        self.execution_errors.get_or_create(&labels).inc();
        let pool = config.pools.get(&asked.pool).map_or("", |pool| pool.name.as_str());
        self.attempt(pool, "ondemand", "error", reason(cause));
    }

    /// A step ended, or was lost with its instance.
    pub(in crate::http) fn step(&self, pool: &str, outcome: &str) {
        self.steps.get_or_create(&vec![("pool", pool.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    fn attempt(&self, pool: &str, source: &str, outcome: &str, reason: &str) {
        let labels = [("pool_id", pool), ("zone", ""), ("vm_type", ""), ("source", source)];
        let labels = labels.into_iter().chain([("outcome", outcome), ("reason", reason)]);
        let labels: Labels = labels.map(|(name, value)| (name, value.to_owned())).collect();
        self.init_attempts.get_or_create(&labels).inc();
    }

    /// Labels of a pool; of one that is not ours they are empty, for anybody can ask for any name.
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
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS && !accounts.contains(account) {
            return OTHERS.to_owned();
        }
        accounts.insert(account.to_owned());
        account.to_owned()
    }

    /// All metrics, in the text form of OpenMetrics.
    pub(in crate::http) async fn text(&self, engine: &Engine) -> Result<String, StoreError> {
        let (instances, stages) = (engine.store().live_instances().await?, engine.store().open_stages().await?);
        let now = gauges::of(&engine.config(), &instances, &stages, |account| self.account(account));
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text));
        // A string takes everything.
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

/// The class, if the pool knows it.
fn known_class(config: &Config, asked: &Asked) -> String {
    let flavors = config.pools.get(&asked.pool).map(|pool| pool.flavors.as_slice()).unwrap_or_default();
    let known = flavors.iter().any(|flavor| flavor.resource_class.as_ref() == Some(&asked.class));
    if known { asked.class.clone() } else { String::new() }
}

/// The incumbent's word for it.
fn reason(cause: Option<&Cause>) -> &'static str {
    match cause.map(|cause| cause.code) {
        Some(Code::NoCapacity) => "pool_exhausted",
        Some(Code::LaunchFailed | Code::NoRoom | Code::LaunchTimeout) => "cloud_create_failed",
        Some(Code::HibernateFailed) => "resume_failed",
        Some(Code::BootTimeout | Code::DiedBooting | Code::Died | Code::Vanished | Code::Unreachable) => {
            "health_failed"
        }
        Some(Code::SetupFailed) => "setup_failed",
        Some(Code::StageDeadline | Code::Unattended) => "timeout",
        _ => "unknown",
    }
}
