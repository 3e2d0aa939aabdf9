//! Instances and limits.

use std::sync::Arc;

use futures::future::join_all;
use kiln_pool::{Cause, Code, Instance, InstanceId, StageId, State};

use super::{Backend, UNLIMITED, insert, ready};
use crate::world::Limits;

pub async fn rows_come_back_as_they_were_written(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let long = "ä".repeat(500);
    let full = Instance {
        id: InstanceId::new(long.clone()),
        pool: "Pool 'ä' \"; --".to_owned(),
        stage: Some(StageId::new("ステージ🔥")),
        state: State::Terminating,
        generation: i64::MAX,
        ready_ms: Some(2),
        claimed_ms: Some(3),
        deadline_ms: Some(4),
        hold_until_ms: Some(i64::MIN),
        retry_ms: None,
        address: "[::1]:9079".parse().ok(),
        server_name: Some("a.b".to_owned()),
        needs_claim: true,
        cause: Some(Cause::new(Code::BootTimeout, "console:\r\n\t\u{1b}[31m…")),
        ..ready("x", 1)
    };
    let bare = Instance { retry_ms: None, ready_ms: None, ..ready("bare", 2) };
    insert(&*store, &[bare.clone(), full.clone()]).await;
    assert_eq!(store.instance(&full.id).await.unwrap().unwrap(), full);
    assert_eq!(store.live_instances().await.unwrap(), [full.clone(), bare.clone()]);
    assert_eq!(store.newest_instances(1).await.unwrap(), std::slice::from_ref(&bare));
    assert_eq!(store.instance(&"other".into()).await.unwrap(), None);

    for state in State::ALL {
        let row = Instance { state: *state, ..ready(&format!("in {state}"), 3) };
        insert(&*store, std::slice::from_ref(&row)).await;
        assert_eq!(store.instance(&row.id).await.unwrap().unwrap(), row);
    }
    assert_eq!(store.live_instances().await.unwrap().len(), State::ALL.len() + 1, "the one that is gone is not live");
}

pub async fn a_late_update_changes_nothing(backend: Arc<dyn Backend>) {
    let (store, other) = (backend.open().await, backend.open().await);
    let first = ready("i", 1);
    insert(&*store, std::slice::from_ref(&first)).await;
    let mine = first.become_(State::Hibernating, 10).unwrap();
    let late = first.terminating(Cause::new(Code::Operator, ""), 11).unwrap();
    assert!(store.update_instance(&mine, "sleep").await.unwrap());
    assert!(!other.update_instance(&late, "end").await.unwrap());
    assert!(!other.update_instance(&mine, "again").await.unwrap(), "a repetition is late, too");
    assert_eq!(other.instance(&first.id).await.unwrap().unwrap(), mine);
    assert!(!store.update_instance(&ready("unknown", 1), "").await.unwrap());

    // Of many concurrent updates, exactly one succeeds.
    let next = mine.become_(State::Hibernated, 12).unwrap();
    let tries = (0..20).map(|n| if n % 2 == 0 { &store } else { &other }.update_instance(&next, "sleeps"));
    let won = join_all(tries).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert_eq!(store.timeline("i", 10).await.unwrap().len(), 3, "losers leave no trace");
}

pub async fn limits_count_what_is_not_gone(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let limits = |pool, flavor| Limits { pool, flavor };
    let large = |id: &str| Instance { flavor: "p/large".to_owned(), ..ready(id, 1) };
    let there = |row: Instance, limits: Limits| {
        let store = &store;
        async move { store.insert_instances(&[row], limits, "test").await.unwrap() }
    };
    assert!(!there(ready("a", 1), limits(0, None)).await);
    assert!(there(ready("a", 1), limits(2, Some(1))).await);
    assert!(!there(ready("b", 1), limits(2, Some(1))).await, "the flavor is full");
    assert!(there(large("b"), limits(2, Some(1))).await);
    assert!(!there(large("c"), limits(2, None)).await, "the pool is full");
    assert!(there(Instance { pool: "q".to_owned(), ..ready("c", 1) }, limits(1, Some(1))).await, "another pool");
    assert!(!there(ready("a", 1), UNLIMITED).await, "the row is there already");

    let gone = ready("a", 1).terminating(Cause::new(Code::Surplus, ""), 2).unwrap();
    assert!(store.update_instance(&gone, "").await.unwrap());
    assert!(!there(ready("d", 1), limits(2, None)).await, "what terminates still counts");
    assert!(store.update_instance(&gone.become_(State::Gone, 3).unwrap(), "").await.unwrap());
    assert!(there(ready("d", 1), limits(2, Some(1))).await);
}

pub async fn many_inserts_at_once_never_pass_a_limit(backend: Arc<dyn Backend>) {
    let stores = [backend.open().await, backend.open().await, backend.open().await];
    let limits = Limits { pool: 7, flavor: Some(5) };
    let tries = (0..60).map(|n| {
        let store = stores[n % stores.len()].clone();
        let flavor = if n % 2 == 0 { "p/small" } else { "p/large" };
        let row = Instance { flavor: flavor.to_owned(), ..ready(&format!("i{n}"), 1) };
        async move { store.insert_instances(&[row], limits, "test").await.unwrap() }
    });
    let inserted = join_all(tries).await.into_iter().filter(|done| *done).count();
    let live = stores[0].live_instances().await.unwrap();
    assert_eq!((inserted, live.len()), (7, 7));
    for flavor in ["p/small", "p/large"] {
        assert!(live.iter().filter(|row| row.flavor == flavor).count() <= 5);
    }
}

pub async fn a_batch_is_written_whole_or_not_at_all(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let batch = |ids: &[&str]| -> Vec<Instance> {
        let size = u32::try_from(ids.len()).unwrap();
        let row = |(index, id): (u32, &&str)| Instance {
            token: ids[0].to_owned(),
            batch_index: index,
            batch_size: size,
            ..ready(id, 1)
        };
        (0..size).zip(ids).map(row).collect()
    };
    let limits = Limits { pool: 4, flavor: Some(3) };
    let there = async || store.live_instances().await.unwrap().iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    assert!(store.insert_instances(&[], limits, "nothing").await.unwrap());
    assert!(store.insert_instances(&batch(&["a", "a-1"]), limits, "two").await.unwrap());
    assert!(!store.insert_instances(&batch(&["b", "b-1"]), limits, "one would fit").await.unwrap());
    assert!(!store.insert_instances(&batch(&["c", "a"]), UNLIMITED, "one is there already").await.unwrap());
    assert_eq!(there().await, ["a", "a-1"]);
    assert_eq!(store.instance(&"c".into()).await.unwrap(), None);
    assert!(store.insert_instances(&batch(&["b"]), limits, "one").await.unwrap());
    assert_eq!(there().await, ["a", "a-1", "b"]);
    assert_eq!(store.timeline("a-1", 10).await.unwrap().len(), 1);
    assert_eq!(store.timeline("b-1", 10).await.unwrap(), [], "what was not written leaves no trace");
}
