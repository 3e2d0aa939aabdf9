//! Pools of this driver.

use kiln_pool::config::{Ages, Flavor, Launch};
use kiln_pool::{Config, Pool, SiteId, Timing};

use super::{IMAGE, TYPE};

/// Pools by name, each with its number of warm instances and its limit.
#[must_use]
pub fn pools(pools: &[(&str, u32, u32)]) -> Config {
    let pool = |&(name, warm, limit): &(&str, u32, u32)| {
        let launch = Launch { image: IMAGE.to_owned(), cpus: 1, memory_mib: 16, disk_gib: 1, ..Launch::default() };
        let flavor = Flavor {
            key: name.to_owned(),
            variant: None,
            tenant: None,
            resource_class: None,
            nested_virtualization: false,
            warm,
            limit: None,
            hibernate: false,
            places: Vec::new(),
            launch,
        };
        let pool = Pool {
            name: name.to_owned(),
            driver: TYPE.to_owned(),
            site: SiteId::new(TYPE),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            limit,
            flavors: vec![flavor],
            schedules: Vec::new(),
            ages: Ages::default(),
            fallbacks: Vec::new(),
            imds: false,
        };
        (name.to_owned(), pool)
    };
    Config { pools: pools.iter().map(pool).collect(), timing: Timing::default() }
}
