//! The unchanged runner, with the driver whose instances are processes of this machine. For tests. Chaos and benchmarks
//! start this program and do not know that driver; only the benchmark of bare launches opens it itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kiln_agent_client::Credentials;
use kiln_driver::Driver;
use kiln_driver_process::{NAME, ProcessDriver, ProcessSection, Settings, built_agent};
use kiln_pool::Config;
use kiln_pool_file::Options;
use kiln_runner::agents::{Leases, ReadyWhen};
use kiln_runner::core::CoreSettings;
use kiln_runner::http::Settings as HttpSettings;
use kiln_runner::service::{Service, ServiceSettings};

const USAGE: &str = "\
Usage: kiln-test-runner --state DIR [options]
  --state DIR      CA and database; runners of one database share it
  --root DIR       where instances are kept (STATE/root)
  --bind ADDRESS   where the API listens (127.0.0.1:0)
  --name NAME      unique among those that share a database (test)
  --database URL   (a file in STATE)
  --pool FILE      pool file (one pool `pool`)
  --warm N         instances that the one pool keeps ready (2)
  --limit N        its instances at once (8)
  --lease-s N      an agent that nobody asks for ends after this (300)
  --agent FILE     kiln-agent (the newest one that was built)";

/// Greatest age of an agent.
const MAX_AGE_S: u32 = 24 * 3600;

struct Args {
    state: PathBuf,
    root: PathBuf,
    bind: SocketAddr,
    name: String,
    database: String,
    config: Config,
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
        config: config(&take("pool", ""), &take("warm", "2"), &take("limit", "8"))?,
        lease_s: take("lease-s", "300").parse().context("--lease-s")?,
        agent: match take("agent", "") {
            agent if agent.is_empty() => built_agent()?,
            agent => agent.into(),
        },
        state,
    };
    anyhow::ensure!(given.is_empty(), "unknown: {given:?}\n{USAGE}");
    Ok(args)
}

/// Reads the pool file, or makes one with these numbers.
fn config(file: &str, warm: &str, limit: &str) -> anyhow::Result<Config> {
    let text = match file {
        "" => format!("instances: [{{name: pool, type: {NAME}, pool: {warm}, limit: {limit}, spec: {{}}}}]"),
        file => std::fs::read_to_string(file).with_context(|| format!("--pool {file}"))?,
    };
    let env = |name: &str| std::env::var(name).ok();
    let loaded =
        kiln_pool_file::load("pool.yml", text.as_bytes(), &Options { env: &env, sections: &[&ProcessSection] });
    let good = loaded.is_ok();
    loaded.config.filter(|_| good).with_context(|| loaded.report.text(false))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    kiln_tls::install_provider();
    let mut args = args()?;
    let ca_dir = args.state.join("ca");
    let authority = Arc::new(kiln_tls::load_or_create(&ca_dir)?);
    let client = authority.issue_client(&args.name)?;
    let settings = Settings {
        lease: Some(Duration::from_secs(args.lease_s.into())),
        max_age: Some(Duration::from_secs(MAX_AGE_S.into())),
        ..Settings::new(&args.root, &args.agent)
    };
    let driver = ProcessDriver::open(&settings, &authority)?;
    let site = driver.site();
    args.config.locate(&BTreeMap::from([(NAME.to_owned(), site.clone())]));
    let core = CoreSettings {
        name: args.name,
        database: args.database,
        config: args.config,
        drivers: Arc::new(BTreeMap::from([(site, Arc::new(driver) as Arc<dyn Driver>)])),
        credentials: Credentials { ca_pem: authority.ca_pem().to_owned(), client },
        authority,
        leases: Leases { lease_s: args.lease_s, max_age_s: MAX_AGE_S },
        ready_when: ReadyWhen::Proven,
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
