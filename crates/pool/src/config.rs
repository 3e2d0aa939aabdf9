//! What a pool is to be: the checked form of a pool file.
//!
//! A pool holds one or more **flavors**: the base, each variant of it, and for each tenant its own copies. Warm instances
//! are kept by flavor, and an instance is only ever claimed for its own flavor, so tenants never meet.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;
use crate::site::SiteId;

/// Everything that the planner is to bring about.
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
    /// The site that its instances are at.
    pub site: SiteId,
    /// Operating system: `linux`, `windows`, `darwin`.
    pub os: String,
    /// Processor architecture: `amd64`, `arm64`.
    pub arch: String,
    /// At most this many instances at once, in whatever state, counting launches whose outcome is not known.
    pub limit: u32,
    /// The base first, then variants, then those of tenants. Never empty.
    pub flavors: Vec<Flavor>,
    /// Changes of the warm target by time; the last one that matches wins.
    pub schedules: Vec<Schedule>,
    /// How old instances may get.
    pub ages: Ages,
    /// Pools to turn to when this one cannot serve, in order.
    pub fallbacks: Vec<String>,
    /// Whether steps may reach the cloud's metadata service.
    pub imds: bool,
}

/// One kind of instance within a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Flavor {
    /// Unique in the whole configuration: `POOL`, `POOL/VARIANT`, `POOL@TENANT`, `POOL@TENANT/VARIANT`.
    pub key: String,
    /// Name of the variant; none for the base.
    pub variant: Option<String>,
    /// Whose it is; none for everybody who is not listed as a tenant.
    pub tenant: Option<Tenant>,
    /// Requests with this resource class get it; none matches requests without a class.
    pub resource_class: Option<String>,
    /// Whether its instances can run virtual machines themselves.
    pub nested_virtualization: bool,
    /// Instances that are kept ready.
    pub warm: u32,
    /// A limit of its own below the pool's.
    pub limit: Option<u32>,
    /// Whether warm instances are put to sleep until they are needed, where the driver can.
    pub hibernate: bool,
    /// What is launched.
    pub launch: Launch,
    /// Places within the site that it may be launched in, best first; empty where the site has no places.
    pub places: Vec<String>,
}

/// Who may use a flavor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Name of the group, or the first account.
    pub id: String,
    /// The accounts.
    pub accounts: Vec<String>,
}

/// What is launched.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Launch {
    /// Image, as the driver names it.
    pub image: String,
    /// Virtual processors; 0 where the machine type says it.
    pub cpus: u32,
    /// Memory in MiB; 0 where the machine type says it.
    pub memory_mib: u32,
    /// Smallest root disk in GiB.
    pub disk_gib: u32,
    /// What only the driver understands, as it stood in the file, without the credentials.
    pub spec: serde_json::Value,
    /// Who launches it. It is written nowhere and not a part of what is launched.
    #[serde(skip)]
    pub credentials: Credentials,
}

/// Keys of a cloud account that stood in the pool file, by the names that they have there. The driver's section of the file
/// knows which they are. They are neither shown nor stored.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Takes the texts of these keys out of a JSON object; whatever else it is given stays as it is.
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
    /// Returns a digest that changes whenever anything about the launch does, and is equal for equal values on every machine
    /// and in every release. Credentials do not count: an instance is the same whoever paid for its launch.
    #[must_use]
    pub fn digest(&self) -> String {
        // FNV-1a: it only has to tell one configuration from the next.
        let text = serde_json::to_string(self).unwrap_or_default();
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}

/// How old instances may get, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// A warm instance that nobody claimed is replaced at this age.
    pub free_max_age_s: u32,
    /// A stage without a timeout of its own ends at this age of its claim.
    pub busy_max_age_s: u32,
    /// No instance gets older than this, whatever it does.
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
    /// An instance whose agent has not answered after this long in `booting` is given up.
    pub boot_timeout_ms: i64,
    /// A launch whose outcome is not known after this long is given up.
    pub launch_timeout_ms: i64,
    /// A warm instance that was not reached for this long is replaced.
    pub unreachable_after_ms: i64,
    /// An instance that no listing showed for this long, and that does not answer either, is lost.
    pub vanished_after_ms: i64,
    /// A stage that got its instance and that no client came for within this long is ended.
    pub unattended_after_ms: i64,
    /// A warm instance too many is ended after this long.
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
    /// The flavor of that key.
    #[must_use]
    pub fn flavor(&self, key: &str) -> Option<&Flavor> {
        self.flavors.iter().find(|flavor| flavor.key == key)
    }
}

impl Config {
    /// Gives each pool the site of its driver, by the driver's name in the pool file. A pool of another driver keeps the site
    /// that it has.
    pub fn locate(&mut self, sites: &BTreeMap<String, SiteId>) {
        for pool in self.pools.values_mut() {
            if let Some(site) = sites.get(&pool.driver) {
                pool.site.clone_from(site);
            }
        }
    }

    /// The flavor of that key and its pool.
    #[must_use]
    pub fn flavor(&self, key: &str) -> Option<(&Pool, &Flavor)> {
        self.pools.values().find_map(|pool| pool.flavor(key).map(|flavor| (pool, flavor)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Credentials, Launch};

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
