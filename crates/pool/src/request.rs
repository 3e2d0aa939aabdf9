//! Matches a caller's request with the flavors that fit.

use crate::config::{Config, Flavor, Pool};
use crate::stage::Candidate;

/// A caller's request for an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The pool.
    pub pool: String,
    /// Pools to use when that one cannot serve; when empty, those of the pool file.
    pub fallbacks: Vec<String>,
    /// The caller's account. It decides the tenant.
    pub account: String,
    /// Resource class; empty for none.
    pub resource_class: String,
    /// Whether the instance must be able to run virtual machines.
    pub nested_virtualization: bool,
    /// An image other than the pool's; empty for the pool's.
    pub image: String,
}

/// The reason why no flavor fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMatch {
    /// There is no such pool.
    #[error("there is no pool `{name}`; there are: {known}")]
    UnknownPool {
        /// The name that was asked for.
        name: String,
        /// The pools that there are.
        known: String,
    },
    /// The pool has nothing for this tenant, class and image.
    #[error("pool `{pool}` has nothing for {asked}; it has: {has}")]
    NoFlavor {
        /// The pool.
        pool: String,
        /// The properties that were asked for.
        asked: String,
        /// The flavors of the pool.
        has: String,
    },
}

/// Returns the flavors that fit, best first: those of the pool, then those of its fallbacks with the same operating
/// system and architecture.
///
/// # Errors
/// When the pool itself is unknown or has no flavor that fits. Fallbacks without one are left out.
pub fn candidates(config: &Config, request: &Request) -> Result<Vec<Candidate>, NoMatch> {
    let known = || config.pools.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let unknown = || NoMatch::UnknownPool { name: request.pool.clone(), known: known() };
    let first = config.pools.get(&request.pool).ok_or_else(unknown)?;
    let mut found = in_pool(first, request)?;
    let fallbacks = if request.fallbacks.is_empty() { &first.fallbacks } else { &request.fallbacks };
    for pool in fallbacks.iter().filter_map(|name| config.pools.get(name)) {
        let alike = pool.os == first.os && pool.arch == first.arch;
        if alike && pool.name != first.name && !found.iter().any(|c| c.pool == pool.name) {
            found.extend(in_pool(pool, request).unwrap_or_default());
        }
    }
    Ok(found)
}

fn in_pool(pool: &Pool, request: &Request) -> Result<Vec<Candidate>, NoMatch> {
    let of_tenant =
        |flavor: &&Flavor| flavor.tenant.as_ref().is_some_and(|tenant| tenant.accounts.contains(&request.account));
    let own: Vec<&Flavor> = pool.flavors.iter().filter(of_tenant).collect();
    // A listed tenant has instances of its own and no others. Everybody else shares those without a tenant.
    let own = if own.is_empty() { pool.flavors.iter().filter(|f| f.tenant.is_none()).collect() } else { own };
    let fits = |flavor: &&&Flavor| {
        flavor.variant.is_some()
            && flavor.resource_class.as_deref().unwrap_or_default() == request.resource_class
            && flavor.nested_virtualization == request.nested_virtualization
    };
    let variants: Vec<&&Flavor> = own.iter().filter(fits).collect();
    let base = own.iter().find(|flavor| flavor.variant.is_none());
    let exact = |flavor: &&&&Flavor| !request.image.is_empty() && flavor.launch.image == request.image;
    // The order of the incumbent: a variant with exactly this image, then the other variants, then the base.
    let chosen = variants.iter().find(exact).or_else(|| variants.first()).copied().or(base);
    let Some(flavor) = chosen else {
        return Err(NoMatch::NoFlavor { pool: pool.name.clone(), asked: asked(request), has: has(&own) });
    };
    let image = if request.image.is_empty() { flavor.launch.image.clone() } else { request.image.clone() };
    Ok(vec![Candidate { pool: pool.name.clone(), flavor: flavor.key.clone(), image }])
}

fn asked(request: &Request) -> String {
    let class = if request.resource_class.is_empty() { "no resource class" } else { &request.resource_class };
    let nested = if request.nested_virtualization { " with nested virtualization" } else { "" };
    format!("{class}{nested}")
}

fn has(flavors: &[&Flavor]) -> String {
    flavors.iter().map(|flavor| flavor.key.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Ages, Launch, Timing};

    fn flavor(key: &str, variant: Option<&str>, class: Option<&str>, nested: bool) -> Flavor {
        Flavor {
            key: key.to_owned(),
            variant: variant.map(str::to_owned),
            tenant: None,
            resource_class: class.map(str::to_owned),
            nested_virtualization: nested,
            warm: 0,
            limit: None,
            hibernate: false,
            places: Vec::new(),
            launch: Launch { image: "i".to_owned(), ..Launch::default() },
        }
    }

    #[track_caller]
    fn check(class: &str, nested: bool, flavor_key: &str) {
        let pool = Pool {
            name: "a".to_owned(),
            driver: "d".to_owned(),
            site: "d".into(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            limit: 1,
            flavors: vec![
                flavor("a", None, None, false),
                flavor("a/nested", Some("nested"), None, true),
                flavor("a/large", Some("large"), Some("large"), false),
            ],
            schedules: Vec::new(),
            ages: Ages::default(),
            fallbacks: Vec::new(),
            imds: false,
            docker_socket: false,
        };
        let config = Config { pools: BTreeMap::from([("a".to_owned(), pool)]), timing: Timing::default() };
        let request = Request {
            pool: "a".to_owned(),
            resource_class: class.to_owned(),
            nested_virtualization: nested,
            ..Request::default()
        };
        let found = candidates(&config, &request).expect("a flavor");
        assert_eq!(found.iter().map(|c| c.flavor.as_str()).collect::<Vec<_>>(), [flavor_key]);
    }

    #[test]
    fn what_no_variant_fits_gets_the_base() {
        check("", false, "a");
        check("", true, "a/nested");
        check("large", false, "a/large");
        check("large", true, "a");
        check("other", false, "a");
    }
}
