//! The runner's engine inside this process, for `kiln run` without a runner.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_driver::Driver;
use kiln_runner::agents::Leases;
use kiln_runner::core::{Core, CoreSettings};

use crate::args::VmArgs;
use crate::commands::image::DISK_GIB;
use crate::identity::Identity;
use crate::{drivers, home};

/// The pool that local stages get their instances from.
pub const POOL: &str = "local";
/// Instances at once; the host's memory is looked at for each.
const LIMIT: u32 = 64;
/// Instances end with this process anyhow; this is for one that hangs.
const LEASES: Leases = Leases { lease_s: 3600, max_age_s: 7 * 24 * 3600 };

/// A core with one pool of local VMs that keeps nothing warm.
pub async fn core(vm: &VmArgs, driver: Arc<dyn Driver>, identity: Identity) -> anyhow::Result<Core> {
    let mut config = kiln_pool_file::default_qemu(crate::images::DEFAULT, vm.cpus, vm.memory, 0, LIMIT);
    for flavor in config.pools.values_mut().flat_map(|pool| &mut pool.flavors) {
        flavor.launch.disk_gib = DISK_GIB;
    }
    let settings = CoreSettings {
        name: format!("run-{}", std::process::id()),
        database: "sqlite::memory:".to_owned(),
        config,
        drivers: BTreeMap::from([(drivers::LOCAL.to_owned(), driver)]),
        authority: identity.authority,
        credentials: identity.credentials,
        leases: LEASES,
        note: Box::new(|_| {}),
    };
    Core::start(settings, &home::layout()?.ca()).await.context("the engine could not start")
}
