//! The end of a chaos run: the remaining instances are those of the rows, and after a drain of the pool there are none.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kiln_runner_client::route;
use kiln_wire::runner::kiln::{DrainRequest, POOL_DRAIN, POOLS, Pool, PoolList};

use super::Shared;

/// Time within which a runner must settle after its last stage.
const REST_WITHIN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// Instances that really exist.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Left {
    /// Names of instances that have files.
    pub instances: Vec<String>,
    /// Processes that belong to instances.
    pub processes: Vec<u32>,
    /// Number of processes of an idle instance.
    pub processes_of_each: usize,
}

impl Left {
    /// Returns the differences from `ready` idle instances.
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

/// Returns the leaks; empty when there are none.
pub(super) async fn settle(shared: &Shared) -> anyhow::Result<Vec<String>> {
    // Idle rows and instances must come to agree. Once they do, nothing can separate them.
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
    let path = route(POOL_DRAIN, "{name}", &shared.plan.pool);
    shared.runner.post::<Pool>(&path, &DrainRequest { drained: Some(true) }).await.context("drain")?;
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

/// Returns the remaining faults once it has settled or its time is over.
async fn rest(shared: &Shared, wrong: impl Fn(&Pool, &Left) -> Vec<String>) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + REST_WITHIN;
    loop {
        let found = match shared.runner.get::<PoolList>(POOLS, &[]).await {
            Ok(answer) => {
                let pool = answer.message.pools.into_iter().find(|pool| pool.name == shared.plan.pool);
                wrong(&pool.context("the pool is not listed")?, &(shared.plan.world)())
            }
            // It has only just been started.
            Err(error) if error.is_unreachable() => vec![error.to_string()],
            Err(error) => return Err(error).context("pools"),
        };
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}
