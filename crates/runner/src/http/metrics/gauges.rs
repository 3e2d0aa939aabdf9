//! Gauges, which are read from the rows on request.

use std::collections::{BTreeMap, HashMap};

use kiln_pool::{Config, Instance, InstanceId, Stage, StageState, State};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;

type Gauges = BTreeMap<Labels, i64>;

/// Returns the gauges of these rows.
pub(super) fn of(
    config: &Config,
    instances: &[Instance],
    stages: &[Stage],
    connections: i64,
    account: impl Fn(&str) -> String,
) -> Registry {
    let owners: HashMap<&InstanceId, &str> =
        stages.iter().filter_map(|stage| Some((stage.instance.as_ref()?, stage.account.as_str()))).collect();
    let [mut rows, mut warm, mut running, mut accounts, mut current] = [(); 5].map(|()| Gauges::new());
    for pool in config.pools.values() {
        for state in ["free", "busy"] {
            warm.entry(warm_labels(config, &pool.name, state)).or_default();
        }
    }
    for instance in instances {
        let count = |gauges: &mut Gauges, labels| *gauges.entry(labels).or_default() += 1;
        let text = |name, value: &str| (name, value.to_owned());
        count(&mut rows, vec![text("pool", &instance.pool), text("state", instance.state.as_str())]);
        let Some(state) = incumbent(instance.state) else { continue };
        count(&mut warm, warm_labels(config, &instance.pool, state));
        let of_pool = [text("pool_id", &instance.pool), text("zone", ""), text("vm_type", ""), text("source", "pool")];
        count(&mut current, [of_pool.as_slice(), &[text("state", state)]].concat());
        if instance.state != State::Claimed {
            continue;
        }
        let owner = account(owners.get(&instance.id).copied().unwrap_or_default());
        let mut labels = warm_labels(config, &instance.pool, "inuse");
        let variant = config.flavor(&instance.flavor).and_then(|(_, flavor)| flavor.variant.clone());
        labels.extend([
            text("distributed", "false"),
            text("owner_id", &owner),
            text("variant_id", &variant.unwrap_or_default()),
            text("source", "pool"),
            text("hibernate", "false"),
        ]);
        count(&mut running, labels);
        let os = config.pools.get(&instance.pool).map_or("", |pool| pool.os.as_str());
        count(&mut accounts, vec![text("owner_id", &owner), text("os", os), text("distributed", "false")]);
    }
    let mut waiting: Gauges = config.pools.keys().map(|pool| (vec![("pool", pool.clone())], 0)).collect();
    for stage in stages.iter().filter(|stage| stage.state == StageState::Waiting) {
        *waiting.entry(vec![("pool", stage.pool.clone())]).or_default() += 1;
    }
    registry([
        ("kiln_instances", "Instances by state", rows),
        ("kiln_waiting_stages", "Stages that wait for an instance", waiting),
        ("harness_ci_pipeline_warm_pool_executions", "Instances of each pool", warm),
        ("harness_ci_pipeline_running_executions", "Instances that serve stages", running),
        ("harness_ci_pipeline_per_account_running_executions", "Instances that serve stages", accounts),
        ("runner_vms_current", "Instances", current),
        ("kiln_api_connections", "Open connections of the API", Gauges::from([(Labels::new(), connections)])),
    ])
}

fn registry<const N: usize>(gauges: [(&str, &str, Gauges); N]) -> Registry {
    let mut registry = Registry::default();
    for (name, help, values) in gauges {
        let family = Family::<Labels, Gauge>::default();
        registry.register(name, help, family.clone());
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
    }
    registry
}

fn warm_labels(config: &Config, pool: &str, state: &str) -> Labels {
    let [os, arch, driver] = match config.pools.get(pool) {
        Some(pool) => [&pool.os, &pool.arch, &pool.driver].map(Clone::clone),
        None => Default::default(),
    };
    vec![("pool_id", pool.to_owned()), ("os", os), ("arch", arch), ("driver", driver), ("state", state.to_owned())]
}

/// Returns the incumbent's word for a state. It has none for an ending instance.
fn incumbent(state: State) -> Option<&'static str> {
    Some(match state {
        State::Intended | State::Launching | State::Booting | State::Resuming => "provisioning",
        State::Ready => "free",
        State::Hibernating => "hibernating",
        State::Hibernated => "hibernated",
        State::Claimed => "busy",
        State::Terminating | State::Gone => return None,
    })
}
