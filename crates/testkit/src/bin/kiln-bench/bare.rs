//! Launches without an engine: the machine's own time for this many instances. This is the only benchmark with a driver
//! of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use kiln_agent_client::Credentials;
use kiln_driver::{Driver as _, Labels, LaunchRequest};
use kiln_driver_process::{ProcessDriver, ProcessSection, Settings, built_agent};
use kiln_engine::Agents as _;
use kiln_pool::Network;
use kiln_pool::config::Launch;
use kiln_pool::instance::Batch;
use kiln_pool_file::Section as _;
use kiln_runner::agents::{Leases, PooledAgents, ReadyWhen};
use serde_json::Value;

use crate::real::Place;

/// Launches and boots this many instances concurrently, and returns the time until the last one is ready.
pub async fn launches(count: usize) -> anyhow::Result<Duration> {
    let place = Place::new()?;
    let authority = Arc::new(kiln_tls::load_or_create(&place.path().join("ca"))?);
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client: authority.issue_client("bench")? };
    let driver = ProcessDriver::open(&Settings::new(&place.root(), &built_agent()?), &authority)?;
    let agents = PooledAgents::new(authority, credentials, Leases { lease_s: 600, max_age_s: 600 }, ReadyWhen::Proven);
    let began = Instant::now();
    try_join_all((0..count).map(|n| launch(&driver, &agents, n))).await?;
    Ok(began.elapsed())
}

async fn launch(driver: &ProcessDriver, agents: &PooledAgents, n: usize) -> anyhow::Result<()> {
    let Launch { image, cpus, memory_mib, disk_gib, spec, .. } = ProcessSection.instances(Value::Null).launch;
    let request = LaunchRequest {
        token: format!("bare-{n}"),
        count: 1,
        place: String::new(),
        image,
        cpus,
        memory_mib,
        disk_gib,
        spec,
        network: Network::default(),
        labels: Labels::new(),
    };
    let launched = driver.launch(&request).await?.pop().context("nothing was launched")?;
    let batch = Batch {
        token: request.token,
        size: 1,
        pool: String::new(),
        flavor: String::new(),
        site: driver.site(),
        place: String::new(),
        image: request.image,
        digest: String::new(),
        runner: String::new(),
    };
    let mut row = batch.intended(0).pop().context("no row")?;
    row.address = launched.reach;
    row.server_name = Some(launched.server_name);
    row.needs_claim = launched.needs_claim;
    agents.boot(&row).await.map_err(anyhow::Error::msg)
}
