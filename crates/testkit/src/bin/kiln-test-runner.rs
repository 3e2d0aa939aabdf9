//! The runner as it is, over the driver whose instances are processes of this machine. For tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kiln_agent_client::Credentials;
use kiln_driver::Driver;
use kiln_pool::SiteId;
use kiln_runner::agents::Leases;
use kiln_runner::core::CoreSettings;
use kiln_runner::http::Settings as HttpSettings;
use kiln_runner::service::{Service, ServiceSettings};
use kiln_testkit::process::{self, ProcessDriver, Settings, pools};

const USAGE: &str = "\
Usage: kiln-test-runner --state DIR [options]
  --state DIR      CA and database; runners of one database share it
  --root DIR       where instances are kept (STATE/root)
  --bind ADDRESS   where the API listens (127.0.0.1:0)
  --name NAME      unique among those that share a database (test)
  --database URL   (a file in STATE)
  --warm N         instances that are kept ready (2)
  --limit N        instances at once (8)
  --lease-s N      an agent that nobody asks for ends after this (300)
  --agent FILE     kiln-agent (the newest one that was built)";

/// The oldest that an agent gets.
const MAX_AGE_S: u32 = 24 * 3600;

struct Args {
    state: PathBuf,
    root: PathBuf,
    bind: SocketAddr,
    name: String,
    database: String,
    warm: u32,
    limit: u32,
    lease_s: u32,
    agent: PathBuf,
}

fn args() -> anyhow::Result<Args> {
    use lexopt::prelude::*;
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            Long(name) => {
                let name = name.to_owned();
                given.insert(name, parser.value()?.string()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut take = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
    let state = PathBuf::from(take("state", ""));
    anyhow::ensure!(state.is_dir(), "--state {}: no such directory\n{USAGE}", state.display());
    let database = format!("sqlite:{}", state.join("runner.sqlite").display());
    let args = Args {
        root: take("root", &state.join("root").display().to_string()).into(),
        bind: take("bind", "127.0.0.1:0").parse().context("--bind")?,
        name: take("name", "test"),
        database: take("database", &database),
        warm: take("warm", "2").parse().context("--warm")?,
        limit: take("limit", "8").parse().context("--limit")?,
        lease_s: take("lease-s", "300").parse().context("--lease-s")?,
        agent: match take("agent", "") {
            agent if agent.is_empty() => process::built_agent()?,
            agent => agent.into(),
        },
        state,
    };
    anyhow::ensure!(given.is_empty(), "unknown: {given:?}\n{USAGE}");
    Ok(args)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    kiln_tls::install_provider();
    let args = args()?;
    let ca_dir = args.state.join("ca");
    let authority = Arc::new(kiln_tls::load_or_create(&ca_dir)?);
    let client = authority.issue_client(&args.name)?;
    let settings = Settings {
        lease: Some(Duration::from_secs(args.lease_s.into())),
        max_age: Some(Duration::from_secs(MAX_AGE_S.into())),
        ..Settings::new(&args.root, &args.agent)
    };
    let driver: Arc<dyn Driver> = Arc::new(ProcessDriver::open(settings, &authority)?);
    let core = CoreSettings {
        name: args.name,
        database: args.database,
        config: pools(&[("pool", args.warm, args.limit)]),
        drivers: Arc::new(BTreeMap::from([(SiteId::new(process::TYPE), driver)])),
        credentials: Credentials { ca_pem: authority.ca_pem().to_owned(), client },
        authority,
        leases: Leases { lease_s: args.lease_s, max_age_s: MAX_AGE_S },
        note: Box::new(|_| {}),
    };
    let http = HttpSettings { bind: args.bind, ..HttpSettings::default() };
    let service = Service::start(ServiceSettings { core, ca_dir, http }).await?;
    eprintln!("listening on {}", service.address);
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        () = service.core.superseded() => {
            service.stop(std::future::ready(())).await;
            anyhow::bail!("another runner of this name was started on this database");
        }
    }
    service.stop(std::future::pending()).await;
    Ok(())
}
