//! Claims by many at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use kiln_engine::conformance::{UNLIMITED, ready, stage};
use kiln_engine::world::Store as _;
use kiln_pool::Instance;

use super::Database;

/// Number of claims in one check.
const CLAIMS: usize = 20_000;
/// Number of runners.
const STORES: usize = 2;
/// Number of claimers in each runner.
const CLAIMERS: usize = 64;

pub async fn many_claimers_never_share_an_instance(database: Database) {
    let stores = [database.open().await, database.open().await];
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
                // A stage that waits because an older one waited for a moment is served by the next pass.
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
