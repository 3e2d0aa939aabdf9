//! The end: what is left is what the rows say, and after the pool was drained it is nothing.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kiln_wire::runner::kiln::{Pool, PoolList};
use serde_json::json;

use super::Shared;

/// A runner comes to rest within this after its last stage.
const REST_WITHIN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// What exists of instances in the world.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Left {
    /// Names of instances that have files.
    pub instances: Vec<String>,
    /// Processes that belong to instances.
    pub processes: Vec<u32>,
    /// Processes of an instance that serves no stage.
    pub processes_of_each: usize,
}

impl Left {
    /// What is not as `ready` idle instances would have it.
    fn beyond(&self, ready: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.instances.len() != ready {
            wrong.push(format!("{} instances exist and {ready} are known: {:?}", self.instances.len(), self.instances));
        }
        let processes = ready * self.processes_of_each;
        if self.processes.len() != processes {
            wrong.push(format!(
                "{} processes exist instead of {processes}: {:?}",
                self.processes.len(),
                self.processes
            ));
        }
        wrong
    }
}

/// What leaked; empty when nothing did.
pub(super) async fn settle(shared: &Shared) -> anyhow::Result<Vec<String>> {
    // Idle rows and instances must come to agree, and once they do there is nothing that could part them.
    let rest = rest(shared, |pool, left| {
        let moving = pool.starting + pool.claimed + pool.terminating + pool.waiting;
        let warm: u32 = pool.flavors.iter().map(|flavor| flavor.warm).sum();
        let mut wrong = left.beyond(pool.ready as usize);
        if moving > 0 || pool.ready != warm {
            wrong.push(format!("the pool is not at rest: {}", text(pool)));
        }
        wrong
    });
    let mut leaked = rest.await?;
    let drain = format!("{}/kiln/v1/pools/{}/drain", shared.base, shared.plan.pool);
    shared.http.post(drain).json(&json!({})).send().await.context("drain")?.error_for_status().context("drain")?;
    leaked.extend(rest_of_drained(shared).await?);
    Ok(leaked)
}

async fn rest_of_drained(shared: &Shared) -> anyhow::Result<Vec<String>> {
    rest(shared, |pool, left| {
        let mut wrong = left.beyond(0);
        if pool.ready + pool.starting + pool.claimed + pool.terminating + pool.hibernated > 0 {
            wrong.push(format!("the drained pool still has instances: {}", text(pool)));
        }
        wrong
    })
    .await
}

fn text(pool: &Pool) -> String {
    let Pool { starting, ready, claimed, terminating, waiting, .. } = pool;
    format!("{starting} starting, {ready} ready, {claimed} claimed, {terminating} ending, {waiting} stages waiting")
}

/// What is wrong when it has come to rest, or its time is up.
async fn rest(shared: &Shared, wrong: impl Fn(&Pool, &Left) -> Vec<String>) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + REST_WITHIN;
    loop {
        let url = format!("{}/kiln/v1/pools", shared.base);
        let found = match shared.http.get(&url).send().await {
            Ok(answer) => {
                let list: PoolList = answer.error_for_status().context("pools")?.json().await.context("pools")?;
                let pool = list.pools.into_iter().find(|pool| pool.name == shared.plan.pool);
                wrong(&pool.context("the pool is not listed")?, &(shared.plan.world)())
            }
            // It was only just started.
            Err(error) => vec![format!("the runner does not answer: {error}")],
        };
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}
