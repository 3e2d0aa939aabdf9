//! Pools without a pool file.

use kiln_pool::config::{Ages, Launch};
use kiln_pool::{Config, Flavor, Pool, Timing};
use serde_json::Value;

use crate::qemu::DEFAULT_DISK_GIB;

/// The pool that there is on a machine without a pool file: `local`, of instances of this machine's architecture. A limit
/// below `warm` is raised to it.
#[must_use]
pub fn default_qemu(image: &str, cpus: u32, memory_mib: u32, warm: u32, limit: u32) -> Config {
    let launch = Launch { image: image.to_owned(), cpus, memory_mib, disk_gib: DEFAULT_DISK_GIB, spec: Value::Null };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let name = "local".to_owned();
    let flavor = Flavor {
        key: name.clone(),
        variant: None,
        tenant: None,
        resource_class: None,
        nested_virtualization: false,
        warm,
        limit: None,
        hibernate: false,
        launch,
    };
    let pool = Pool {
        name: name.clone(),
        driver: "qemu".to_owned(),
        os: "linux".to_owned(),
        arch: arch.to_owned(),
        limit: limit.max(warm).max(1),
        flavors: vec![flavor],
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
    };
    Config { pools: [(name, pool)].into(), timing: Timing::default() }
}
