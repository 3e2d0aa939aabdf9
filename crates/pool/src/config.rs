//! The desired state of pools: the checked form of a pool file.
//!
//! A pool holds one or more **flavors**: the base, its variants, and for each tenant copies of its own. Warm instances
//! are kept by flavor, and an instance is only ever claimed for its own flavor, so tenants never meet.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::schedule::Schedule;
use crate::site::SiteId;

/// The desired state of all pools.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The pools, by name.
    pub pools: BTreeMap<String, Pool>,
    /// The times that hold for all pools.
    pub timing: Timing,
}

/// One pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Its name, which requests give as `pool_id`.
    pub name: String,
    /// The driver that makes its instances, by the name in the file: `amazon`, `qemu`.
    pub driver: String,
    /// The site of its instances.
    pub site: SiteId,
    /// Operating system: `linux`, `windows`, `darwin`.
    pub os: String,
    /// Processor architecture: `amd64`, `arm64`.
    pub arch: String,
    /// Most instances at once, in any state, counting launches whose outcome is not known.
    pub limit: u32,
    /// The base first, then variants, then those of tenants. Never empty.
    pub flavors: Vec<Flavor>,
    /// Changes of the warm target by time. The last schedule that matches wins.
    pub schedules: Vec<Schedule>,
    /// Greatest ages of its instances.
    pub ages: Ages,
    /// Pools to use when this one cannot serve, in order.
    pub fallbacks: Vec<String>,
    /// Whether steps may reach the cloud's metadata service.
    pub imds: bool,
    /// Whether steps in containers may see the socket of the container engine, and so be root in the VM.
    pub docker_socket: bool,
}

/// One kind of instance within a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Flavor {
    /// Unique in the whole configuration: `POOL`, `POOL/VARIANT`, `POOL@TENANT`, `POOL@TENANT/VARIANT`.
    pub key: String,
    /// Name of the variant; none for the base.
    pub variant: Option<String>,
    /// The tenant; none for everybody who is not listed as a tenant.
    pub tenant: Option<Tenant>,
    /// The resource class of requests that get this flavor; none for requests without a class.
    pub resource_class: Option<String>,
    /// Whether its instances can run virtual machines themselves.
    pub nested_virtualization: bool,
    /// Number of instances that are kept ready.
    pub warm: u32,
    /// A limit of its own, below the pool's.
    pub limit: Option<u32>,
    /// Whether warm instances are put to sleep until they are needed, where the driver can.
    pub hibernate: bool,
    /// The launch of its instances.
    pub launch: Launch,
    /// Places within the site where it may be launched, best first; empty where the site has no places.
    pub places: Vec<String>,
}

/// The accounts that share a flavor of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Name of the group, or the first account.
    pub id: String,
    /// The accounts.
    pub accounts: Vec<String>,
}

/// The properties of a launch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Launch {
    /// Image, as the driver names it.
    pub image: String,
    /// Virtual processors; 0 where the machine type decides.
    pub cpus: u32,
    /// Memory in MiB; 0 where the machine type decides.
    pub memory_mib: u32,
    /// Smallest root disk in GiB.
    pub disk_gib: u32,
    /// Data for the driver alone, as in the file, without the credentials.
    pub spec: serde_json::Value,
    /// What the instances may reach. It belongs to the launch, so that warm instances with another one are replaced.
    pub network: Network,
    /// Keys of the cloud account that launches it. They are written nowhere and are no part of what is launched.
    #[serde(skip)]
    pub credentials: Credentials,
}

/// Keys of a cloud account from the pool file, by their names there. The driver's section of the file defines the
/// names. They are neither shown nor stored.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Takes the texts of these keys out of a JSON object. Any other value stays as it is.
    #[must_use]
    pub fn taken(from: Option<&mut serde_json::Value>, keys: &[&str]) -> Self {
        let Some(object) = from.and_then(serde_json::Value::as_object_mut) else { return Self::default() };
        let taken = keys.iter().filter_map(|key| Some(((*key).to_owned(), object.remove(*key)?.as_str()?.to_owned())));
        Self(taken.collect())
    }

    /// Returns the text of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} keys)", self.0.len())
    }
}

impl Launch {
    /// Returns a digest that changes whenever anything about the launch does, and is equal for equal values on every
    /// machine and in every release. Credentials do not count: an instance is the same whoever paid for its launch.
    #[must_use]
    pub fn digest(&self) -> String {
        // FNV-1a is enough, because the digest only has to tell configurations apart.
        let text = serde_json::to_string(self).unwrap_or_default();
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}

/// Greatest ages of instances, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Age at which a warm instance that nobody claimed is replaced.
    pub free_max_age_s: u32,
    /// Time after its claim at which a stage without a timeout of its own ends.
    pub busy_max_age_s: u32,
    /// Greatest age of any instance.
    pub max_age_s: u32,
}

impl Default for Ages {
    fn default() -> Self {
        // The incumbent's defaults for free and busy instances: 72 and 24 hours.
        Self { free_max_age_s: 72 * 3600, busy_max_age_s: 24 * 3600, max_age_s: 7 * 24 * 3600 }
    }
}

/// Times that hold for all pools, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long an instance may be `booting` until its agent answers.
    pub boot_timeout_ms: i64,
    /// How long the outcome of a launch may stay unknown.
    pub launch_timeout_ms: i64,
    /// How long a warm instance may be silent before it is replaced.
    pub unreachable_after_ms: i64,
    /// How long an instance may be missing from listings and silent before it counts as lost.
    pub vanished_after_ms: i64,
    /// How long a stage that has its instance waits for a client.
    pub unattended_after_ms: i64,
    /// How long a warm instance too many is kept.
    pub surplus_after_ms: i64,
    /// Launches that may be under way at once, in all pools together.
    pub launches_at_once: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            boot_timeout_ms: 15 * 60_000,
            launch_timeout_ms: 10 * 60_000,
            unreachable_after_ms: 60_000,
            vanished_after_ms: 5 * 60_000,
            unattended_after_ms: 15 * 60_000,
            surplus_after_ms: 60_000,
            launches_at_once: 20,
        }
    }
}

impl Pool {
    /// Returns the flavor with that key.
    #[must_use]
    pub fn flavor(&self, key: &str) -> Option<&Flavor> {
        self.flavors.iter().find(|flavor| flavor.key == key)
    }
}

impl Config {
    /// Sets the site of each pool from its driver's name in the pool file. A pool of another driver keeps its site.
    pub fn locate(&mut self, sites: &BTreeMap<String, SiteId>) {
        for pool in self.pools.values_mut() {
            if let Some(site) = sites.get(&pool.driver) {
                pool.site.clone_from(site);
            }
        }
    }

    /// Returns the flavor with that key, and its pool.
    #[must_use]
    pub fn flavor(&self, key: &str) -> Option<(&Pool, &Flavor)> {
        self.pools.values().find_map(|pool| pool.flavor(key).map(|flavor| (pool, flavor)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Credentials, Launch, Network};

    #[test]
    fn the_digest_tells_launches_apart_but_not_who_pays() {
        let launch = |mut spec: serde_json::Value| {
            let credentials = Credentials::taken(spec.get_mut("account"), &["secret"]);
            Launch { image: "i".to_owned(), spec, credentials, ..Launch::default() }
        };
        let base = launch(json!({"size": "a", "account": {"region": "r", "secret": "hunter1"}}));
        let rotated = launch(json!({"size": "a", "account": {"region": "r", "secret": "hunter2"}}));
        let larger = launch(json!({"size": "b", "account": {"region": "r", "secret": "hunter1"}}));
        assert_eq!(base.digest(), rotated.digest());
        assert_ne!(base, rotated, "a change of the keys is a change of the configuration");
        assert_ne!(base.digest(), larger.digest());
        let opened = Launch { network: Network::open(), ..base.clone() };
        assert_ne!(base.digest(), opened.digest(), "a warm instance reaches what was open at its launch");
        assert_eq!(base.credentials.get("secret"), Some("hunter1"));
        assert!(!format!("{base:?}").contains("hunter"), "they are not shown");
        assert!(!serde_json::to_string(&base).expect("JSON").contains("hunter"), "nor written down");
    }

    #[test]
    fn credentials_are_taken_from_objects_only() {
        for mut odd in [json!(null), json!([1]), json!("secret"), json!({"secret": 1})] {
            let taken = Credentials::taken(Some(&mut odd), &["secret"]);
            assert_eq!(taken, Credentials::default());
        }
        assert_eq!(Credentials::taken(None, &["secret"]), Credentials::default());
    }
}
