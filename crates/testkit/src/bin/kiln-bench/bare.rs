//! Launches without an engine: what the machine itself takes for so many instances.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use kiln_agent_client::Credentials;
use kiln_driver::{Driver as _, Labels, LaunchRequest};
use kiln_engine::Agents as _;
use kiln_pool::instance::Batch;
use kiln_runner::agents::{Leases, PooledAgents};
use kiln_testkit::process::{self, ProcessDriver, Settings};

use crate::real::Place;

/// Launches and boots so many instances at the same time; how long it takes until the last one answers under its own name.
pub async fn launches(count: usize) -> anyhow::Result<Duration> {
    let place = Place::new()?;
    let authority = Arc::new(kiln_tls::load_or_create(&place.path().join("ca"))?);
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client: authority.issue_client("bench")? };
    let driver = ProcessDriver::open(Settings::new(&place.root(), &process::built_agent()?), &authority)?;
    let agents = PooledAgents::new(authority, credentials, Leases { lease_s: 600, max_age_s: 600 });
    let began = Instant::now();
    try_join_all((0..count).map(|n| launch(&driver, &agents, n))).await?;
    Ok(began.elapsed())
}

async fn launch(driver: &ProcessDriver, agents: &PooledAgents, n: usize) -> anyhow::Result<()> {
    let request = LaunchRequest {
        token: format!("bare-{n}"),
        count: 1,
        place: String::new(),
        image: process::IMAGE.to_owned(),
        cpus: 1,
        memory_mib: 16,
        disk_gib: 1,
        spec: serde_json::Value::Null,
        labels: Labels::new(),
    };
    let launched = driver.launch(&request).await?.pop().context("nothing was launched")?;
    let batch = Batch {
        token: request.token,
        size: 1,
        pool: String::new(),
        flavor: String::new(),
        site: process::TYPE.into(),
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
