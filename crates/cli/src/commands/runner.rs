//! `kiln runner`: pools of warm VMs behind an HTTP API.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kiln_driver::Driver;
use kiln_driver_qemu::Ownership;
use kiln_pool::{Config, SiteId};
use kiln_runner::agents::{Leases, ReadyWhen};
use kiln_runner::core::CoreSettings;
use kiln_runner::http::{Settings, Tls, Token};
use kiln_runner::pools::PoolFile;
use kiln_runner::service::{Service, ServiceSettings};

use crate::args::runner::{RunnerArgs, bind};
use crate::drivers::Drivers;
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::signals::Signals;
use crate::{drivers, home, inherited, progress};

/// Margin of an instance's own age limit above the pool's, so that the runner, which records the reason, ends it first.
const MAX_AGE_MARGIN: Duration = Duration::from_secs(3600);

/// Runs until it is told to end.
pub async fn runner(args: RunnerArgs) -> anyhow::Result<Exit> {
    let sections = drivers::SECTIONS.to_vec();
    let http = http(&args)?;
    let mut file = PoolFile { path: args.pool.clone(), sections, sites: BTreeMap::new(), http: http.clone() };
    let stamp = file.stamp();
    let (mut config, findings) = file.read().context(Usage("nothing was started".to_owned()))?;
    if !findings.is_empty() {
        eprintln!("{findings}");
    }
    let name = name(&args)?;
    for warning in inherited::warnings(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        eprintln!("warning: {warning}");
    }
    for pool in http.fallback_pools.iter().filter(|pool| !config.pools.contains_key(*pool)) {
        eprintln!("warning: the pool file has no pool {pool}, which --fallback or DRONE_FALLBACK_POOL_IDS names");
    }
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let layout = home::layout()?;
    let database = match &args.database {
        Some(url) => url.clone(),
        None => format!("sqlite:{}", layout.runner_database(&name)?.display()),
    };
    let identity = Identity::of(&layout)?;
    let (host, ownership, listener) = (&args.host, Ownership::Named(name.clone()), progress::listener());
    let drivers = Drivers { layout: &layout, host, ownership, identity: &identity, listener }.all(&config)?;
    refuse_survivors(&drivers, &http).await?;
    file.sites = drivers.keys().map(|site| (site.driver().to_owned(), site.clone())).collect();
    config.locate(&file.sites);
    let pools = summary(&config);
    let runner = name.clone();
    let core = CoreSettings {
        name,
        database,
        drivers: Arc::new(drivers),
        authority: identity.authority,
        credentials: identity.credentials,
        leases: leases(&args, &config),
        ready_when: ReadyWhen::Proven,
        config,
        note: Box::new(|_| {}),
    };
    let service = Service::start(ServiceSettings { core, ca_dir: layout.ca(), http }).await?;
    file.http.bind = service.address;
    let follow = tokio::spawn(file.follow(stamp, std::sync::Arc::clone(&service.core.engine)));
    eprintln!("listening on {}; {pools}", service.address);
    tokio::select! {
        _ = signals.next() => {}
        () = service.core.superseded() => {
            service.stop(std::future::ready(())).await;
            anyhow::bail!(
                "another runner named {runner} was started on this database, and replaces this one; instances and \
                 stages are not touched. Give each runner of a database its own --name"
            );
        }
    }
    eprintln!(
        "stopping: open requests have {} s to end, stages continue; a second signal stops at once",
        args.drain_timeout.as_secs()
    );
    follow.abort();
    service.stop(signals.next()).await;
    Ok(Exit::Ok)
}

/// Refuses to answer without a token where VMs still run that reach the API: those of a release without isolation, or of a
/// pool that had none.
async fn refuse_survivors(drivers: &BTreeMap<SiteId, Arc<dyn Driver>>, http: &Settings) -> anyhow::Result<()> {
    let open = if http.is_open() { drivers::reaching_loopback(drivers).await? } else { None };
    let Some(id) = open else { return Ok(()) };
    let bind = http.bind;
    anyhow::bail!(Usage(format!(
        "the VM {id}, which an earlier process of this runner has started, is not isolated and reaches {bind}, where this runner \
         answers without a token: give it one (KILN_API_TOKEN), or an authority for callers' certificates (mTLS), drain its pools \
         with `kiln pool drain`, and start it without a token when such VMs have ended"
    )))
}

fn name(args: &RunnerArgs) -> anyhow::Result<String> {
    let set = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = args.name.clone().or_else(|| set("KILN_RUNNER_NAME")).or_else(|| set("DRONE_RUNNER_NAME")).or_else(host);
    let name = name.context("this host has no name; give the runner one with --name")?.to_lowercase();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-').to_owned();
    anyhow::ensure!(
        !plain.is_empty() && plain.len() <= 63,
        Usage(format!("--name {name}: give 1 to 63 letters, digits and hyphens"))
    );
    Ok(plain)
}

fn http(args: &RunnerArgs) -> anyhow::Result<Settings> {
    let set = |variable: &str| std::env::var(variable).ok().filter(|text| !text.is_empty());
    let given = set("KILN_HTTP_BIND").or_else(|| set("DRONE_HTTP_BIND"));
    let default = Settings::default();
    let address = match (args.bind, given) {
        (Some(address), _) => address,
        (None, Some(text)) => {
            bind(&text).map_err(|why| Usage(format!("KILN_HTTP_BIND or DRONE_HTTP_BIND is {text}: {why}")))?
        }
        (None, None) => default.bind,
    };
    let token = match &args.token_file {
        Some(path) => Some(read(path)?.trim().to_owned()),
        None => set("KILN_API_TOKEN"),
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => {
            let client_ca_pem = args.client_ca.as_deref().map(read).transpose()?;
            Some(Tls { client_ca_pem, cert_pem: read(cert)?, key_pem: read(key)? })
        }
        _ => None,
    };
    let settings = Settings {
        bind: address,
        token: token.map(Token::new),
        tls,
        allowed_hosts: args.allow_host.clone(),
        wait: args.wait,
        fallback_pools: args.fallback.iter().filter(|pool| !pool.is_empty()).cloned().collect(),
        setup_within: args.setup_timeout,
        drain: args.drain_timeout,
        ..default
    };
    kiln_runner::http::Server::check(&settings).map_err(|error| Usage(error.to_string()))?;
    Ok(settings)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| Usage(format!("cannot read {}: {error}", path.display())).into())
}

fn leases(args: &RunnerArgs, config: &Config) -> Leases {
    let oldest = config.pools.values().map(|pool| pool.ages.max_age_s).max().unwrap_or_default();
    let margin = u32::try_from(MAX_AGE_MARGIN.as_secs()).unwrap_or(u32::MAX);
    let lease_s = u32::try_from(args.lease.as_secs()).unwrap_or(u32::MAX);
    Leases { lease_s, max_age_s: oldest.saturating_add(margin) }
}

fn summary(config: &Config) -> String {
    let pool = |pool: &kiln_pool::Pool| {
        let warm: u32 = pool.flavors.iter().map(|flavor| flavor.warm).sum();
        format!("{} ({warm} warm, at most {})", pool.name, pool.limit)
    };
    let pools: Vec<String> = config.pools.values().map(pool).collect();
    format!("pools: {}", pools.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text| bind(text).map(|address| address.to_string());
        assert_eq!(read(":3000"), Ok("0.0.0.0:3000".to_owned()));
        assert_eq!(read("localhost:1"), Ok("127.0.0.1:1".to_owned()));
        assert_eq!(read("[::1]:80"), Ok("[::1]:80".to_owned()));
        assert!(read("3000").is_err());
    }
}
