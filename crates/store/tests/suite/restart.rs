//! Values that survive a restart.

use std::collections::BTreeSet;

use futures::future::join_all;
use kiln_engine::conformance::{insert, ready, stage};
use kiln_engine::world::Store as _;
use kiln_pool::{Cause, Code, Instance};

use super::Database;

pub async fn what_is_remembered_stays(database: Database) {
    let (store, other) = (database.open().await, database.open().await);
    let tries = join_all((0..10).map(|n| {
        let store = if n % 2 == 0 { store.clone() } else { other.clone() };
        async move { store.remember("ca", &format!("fingerprint {n}")).await.unwrap() }
    }));
    let answers: BTreeSet<_> = tries.await.into_iter().collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// A console may print NULs, which PostgreSQL does not take.
pub async fn nuls_come_back_as_signs(database: Database) {
    let store = database.open().await;
    let printed = Instance { cause: Some(Cause::new(Code::Died, "a\0b")), ..ready("nul", 4) };
    insert(&*store, std::slice::from_ref(&printed)).await;
    assert_eq!(store.instance(&printed.id).await.unwrap().unwrap().cause.unwrap().evidence, "a\u{2400}b");
    store.note_start("f", 1, Some(&Cause::new(Code::LaunchFailed, "ü\0"))).await.unwrap();
    assert_eq!(store.streaks().await.unwrap()["f"].evidence, "launch_failed: ü\u{2400}");
}

pub async fn all_is_there_after_another_start(database: Database) {
    let opened = kiln_store::open(&database.url).await.unwrap();
    let installation = opened.installation.clone();
    let store = opened.store;
    insert(&*store, &[ready("i", 1)]).await;
    let (assigned, instance) = store.begin_stage(&stage("s", 1), 2).await.unwrap();
    assert_eq!(store.remember("ca", "one").await.unwrap(), "one");
    store.close().await;
    drop(store);
    let error = {
        let again = kiln_store::open(&database.url).await.unwrap();
        assert_eq!(again.installation, installation);
        assert_eq!(again.store.stage(&"s".into()).await.unwrap(), Some(assigned));
        assert_eq!(again.store.instance(&"i".into()).await.unwrap(), instance);
        assert_eq!(again.store.remember("ca", "two").await.unwrap(), "one");
        again.store.close().await;
        again.store.live_instances().await.unwrap_err()
    };
    assert!(error.message.starts_with("cannot read the instances: ") && !error.ambiguous, "{error}");
}
