//! The runner's engine within this process, for `kiln run` without a runner.

mod fleet;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_driver::Driver;
use kiln_driver_qemu::limits::DEFAULT_SHAPE;
use kiln_driver_qemu::{QemuDriver, Shape};
use kiln_pool::{Config, Network};
use kiln_runner::agents::{Leases, ReadyWhen};
use kiln_runner::core::{Core, CoreSettings};

use crate::args::VmArgs;
use crate::identity::Identity;
use crate::{drivers, home};

pub use fleet::LocalFleet;

/// The pool of all local stages.
pub const POOL: &str = "local";
/// Most concurrent instances. The host's memory is checked for each.
const LIMIT: u32 = 64;
/// Instances end with this process anyway. These limits are for one that hangs.
const LEASES: Leases = Leases { lease_s: 3600, max_age_s: 7 * 24 * 3600 };

/// Creates a core with one pool of local VMs that keeps nothing warm.
pub async fn core(vm: &VmArgs, network: &Network, driver: QemuDriver, identity: Identity) -> anyhow::Result<Core> {
    let shape = Shape { cpus: vm.cpus, memory_mib: vm.memory, ..DEFAULT_SHAPE };
    let mut pool = kiln_driver_qemu::pool(POOL, crate::images::DEFAULT, shape, LIMIT);
    pool.flavors.iter_mut().for_each(|flavor| flavor.launch.network.clone_from(network));
    let mut config = Config { pools: BTreeMap::from([(POOL.to_owned(), pool)]), ..Config::default() };
    let site = driver.site();
    config.locate(&BTreeMap::from([(drivers::LOCAL.to_owned(), site.clone())]));
    let settings = CoreSettings {
        name: format!("run-{}", std::process::id()),
        database: "sqlite::memory:".to_owned(),
        config,
        drivers: Arc::new(BTreeMap::from([(site, Arc::new(driver) as Arc<dyn Driver>)])),
        authority: identity.authority,
        credentials: identity.credentials,
        leases: LEASES,
        ready_when: ReadyWhen::Answers,
        note: Box::new(|_| {}),
    };
    Core::start(settings, &home::layout()?.ca()).await.context("the engine could not start")
}
