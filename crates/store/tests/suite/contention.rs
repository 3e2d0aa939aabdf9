//! Claims by many at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use kiln_engine::world::Store as _;
use kiln_pool::Instance;

use super::{Backend, UNLIMITED, insert, ready, stage};

/// Claims of one check.
const CLAIMS: usize = 20_000;
/// Runners.
const STORES: usize = 2;
/// Claimers in each.
const CLAIMERS: usize = 64;

pub async fn many_claimers_never_share_an_instance(backend: Backend) {
    let stores = [backend.open().await, backend.open().await];
    let per_claimer = CLAIMS / STORES / CLAIMERS;
    let claimers = || (0..STORES * CLAIMERS).map(|n| (n, stores[n % STORES].clone()));
    let seeds = claimers().map(|(n, store)| {
        tokio::spawn(async move {
            for m in 0..per_claimer {
                let row = Instance { pool: format!("p{n}"), ..ready(&format!("i-{n}-{m}"), 1) };
                assert!(store.insert_instances(&[row], UNLIMITED, "test").await.unwrap());
            }
        })
    });
    join_all(seeds).await.into_iter().for_each(|seed| seed.unwrap());
    let claims = claimers().map(|(n, store)| {
        tokio::spawn(async move {
            let mut got = Vec::new();
            for m in 0..per_claimer {
                let row = stage(&format!("s-{n}-{m}"), 1);
                let mut instance = store.begin_stage(&row, 10).await.unwrap().1;
                // One that waits, because an older one waited for a moment, is served by the next pass.
                while instance.is_none() {
                    instance = store.claim(&row, 10).await.unwrap().map(|(_, instance)| instance);
                }
                got.push(instance.unwrap().id);
            }
            got
        })
    });
    let claimed: Vec<_> = join_all(claims).await.into_iter().flat_map(|got| got.unwrap()).collect();
    let distinct: BTreeSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (per_claimer * CLAIMERS * STORES, claimed.len()));
    assert_eq!(stores[0].begin_stage(&stage("one more", 1), 10).await.unwrap().1, None);
}

/// A pass serves many stages at once: each gets an instance of its own, and one that changed meanwhile gets none without
/// harm to the others.
pub async fn claims_at_once_get_an_instance_each(backend: Backend) {
    let store = backend.open().await;
    let stages: Vec<_> = (0..20).map(|n| stage(&format!("s{n:02}"), n)).collect();
    for row in &stages {
        assert_eq!(store.begin_stage(row, 1).await.unwrap().1, None);
    }
    let instances: Vec<_> = (0..15).map(|n| ready(&format!("i{n:02}"), n)).collect();
    insert(&store, &instances).await;
    // One ends while it is to be served.
    let ended = stages[3].ended(kiln_pool::Cause::new(kiln_pool::Code::Cancelled, ""), 2).unwrap();
    assert!(store.update_stage(&ended).await.unwrap());
    let claimed = join_all(stages.iter().rev().map(|row| store.claim(row, 5))).await;
    let got: Vec<(String, String)> = claimed
        .into_iter()
        .filter_map(Result::unwrap)
        .map(|(stage, instance)| (stage.id.to_string(), instance.id.to_string()))
        .collect();
    let (served, given): (BTreeSet<_>, BTreeSet<_>) = got.iter().cloned().unzip();
    assert_eq!((got.len(), served.len(), given.len()), (15, 15, 15), "{got:?}");
    assert!(!served.contains("s03"), "{got:?}");
    for (stage, instance) in &got {
        let row = store.instance(&instance.as_str().into()).await.unwrap().unwrap();
        assert_eq!(row.stage.as_ref().map(ToString::to_string).as_deref(), Some(stage.as_str()));
    }
    assert_eq!(store.stage(&"s03".into()).await.unwrap().unwrap(), ended);
}
