//! The limit of a pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_engine::{Host as _, Limits, Store as _};
use kiln_pool::{Code, Instance, InstanceId, State};

use crate::rig::{World, config, flavor};

const LIMIT: u32 = 3;

fn intended(id: &str) -> Instance {
    Instance {
        id: InstanceId::new(id),
        pool: "p".into(),
        flavor: "p".into(),
        site: "fake".into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: "debian".into(),
        digest: "0".into(),
        state: State::Intended,
        generation: 1,
        runner: "a".into(),
        stage: None,
        created_ms: 1,
        since_ms: 1,
        ready_ms: None,
        claimed_ms: None,
        deadline_ms: None,
        hold_until_ms: None,
        retry_ms: None,
        attempts: 0,
        address: None,
        server_name: None,
        needs_claim: false,
        cause: None,
    }
}

/// The incumbent checked the limit, if at all, before others wrote. Under load it was exceeded by far.
#[tokio::test(flavor = "multi_thread")]
async fn defect_05_runners_that_create_at_the_same_time_stay_below_the_limit() {
    let world = World::new();
    let stores = [world.open().await.store, world.open().await.store];
    let tries = (0..24).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move {
            let limits = Limits { pool: LIMIT, flavor: None };
            store.insert_instances(&[intended(&format!("i{number}"))], limits, "").await.expect("a database")
        })
    });
    let made = futures::future::join_all(tries).await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().expect("no panic")).count(), 3);
    assert_eq!(stores[0].live_instances().await.expect("a database").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_05_the_limit_holds_under_load() {
    let world = World::new();
    let config = config(LIMIT, vec![flavor("p", 2), flavor("p/large", 1)]);
    let runners = [Arc::new(world.runner("a", &config).await), Arc::new(world.runner("b", &config).await)];
    let passes: Vec<_> = runners.iter().map(|r| tokio::spawn(Arc::clone(&r.engine).run(|_| {}))).collect();
    // Runners that share a server learn in this way that others may have changed something.
    let hosts = [Arc::clone(&runners[0].host), Arc::clone(&runners[1].host)];
    let ticks = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            hosts.iter().for_each(|host| host.signal());
        }
    });
    let stages = (0..24).map(|number| {
        let runner = Arc::clone(&runners[number % 2]);
        tokio::spawn(async move {
            let stage = format!("s{number}");
            let assigned = runner.acquire(&stage).await;
            assert!(runner.engine.end_stage(&assigned.stage.id, Code::Destroyed, "").await.expect("a database"));
        })
    });
    for stage in futures::future::join_all(stages).await {
        stage.expect("every stage had its turn");
    }
    let most = world.cloud.most.load(Ordering::SeqCst);
    assert_eq!(most, LIMIT as usize, "so many at once");
    ticks.abort();
    passes.iter().for_each(tokio::task::JoinHandle::abort);
}
