//! The timeline, and what is pruned.

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_pool::{Cause, Code, Instance, Stage, StageState, State};

use super::{Backend, begin, insert, ready, stage};
use crate::world::Change;

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|c| format!("{} {} {} {}: {}", c.subject, c.id, c.pool, c.state, c.reason)).collect()
}

pub async fn the_timeline_tells_each_change(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    store.begin_stage(&stage("s", 1), 1).await.unwrap();
    insert(&*store, &[ready("i", 1)]).await;
    let (assigned, instance) = store.claim(&stage("s", 1), 2).await.unwrap().unwrap();
    let set_up = Stage { set_up: true, generation: 3, ..assigned };
    assert!(store.update_stage(&set_up).await.unwrap());
    let ended = set_up.ended(Cause::new(Code::Cancelled, "by hand"), 3).unwrap();
    assert!(store.update_stage(&ended).await.unwrap());
    let ends = instance.terminating(Cause::new(Code::Cancelled, ""), 4).unwrap();
    assert!(store.update_instance(&ends, "its stage ended").await.unwrap());

    let all = store.changes_after(0, 100).await.unwrap();
    let expected = [
        "stage s p waiting: p/small: an instance starts",
        "instance i p ready: test",
        "instance i p claimed: stage s",
        "stage s p assigned: instance i",
        "stage s p assigned: set up",
        "stage s p ended: cancelled: by hand",
        "instance i p terminating: its stage ended",
    ];
    assert_eq!(told(&all), expected);
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(store.changes_after(all[2].seq, 2).await.unwrap(), all[3..5]);
    assert_eq!(told(&store.timeline("i", 2).await.unwrap()), [expected[2], expected[6]], "the latest, oldest first");
    assert_eq!(store.timeline("s", 100).await.unwrap().len(), 4);
    assert_eq!(store.timeline("other", 100).await.unwrap(), []);
}

pub async fn old_rows_are_forgotten_with_their_changes(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let gone = |n: i64| Instance { state: State::Gone, since_ms: n, ..ready(&format!("i{n:04}"), n) };
    // These are more rows than one transaction deletes.
    let rows: Vec<_> = (0..1_200).map(gone).collect();
    insert(&*store, &rows).await;
    insert(&*store, &[ready("warm", 1)]).await;
    let ended = |id: &str, instance: &str, at: i64| Stage {
        state: StageState::Ended,
        instance: Some(instance.into()),
        ended_ms: Some(at),
        ..stage(id, 1)
    };
    for row in [ended("old", "i0001", 5), ended("young", "i0002", 2_000), ended("held", "warm", 5), stage("open", 1)] {
        store.begin_stage(&Stage { candidates: Vec::new(), ..row }, 1).await.unwrap();
    }
    assert_eq!(store.prune(1_100).await.unwrap(), 1_101);
    let left = store.newest_instances(10_000).await.unwrap();
    assert_eq!(left.len(), 101);
    assert!(left.iter().all(|row| row.id.as_str() == "warm" || row.since_ms >= 1_100));
    let stages: BTreeSet<_> = store.newest_stages(10).await.unwrap().into_iter().map(|s| s.id.to_string()).collect();
    assert!(stages.iter().eq(["held", "open", "young"]), "a stage stays as long as its instance");
    assert_eq!(store.timeline("i0001", 10).await.unwrap(), []);
    assert_eq!(store.timeline("i1150", 10).await.unwrap().len(), 1);
    assert_eq!(store.prune(1_100).await.unwrap(), 0);
    for (id, changes) in [("old", 0), ("young", 1), ("held", 1), ("open", 1)] {
        assert_eq!(store.timeline(id, 10).await.unwrap().len(), changes, "{id}");
    }
}

pub async fn a_stage_that_gets_its_instance_at_once_never_waited(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    insert(&*store, &[ready("i", 1)]).await;
    assert_eq!(begin(&*store, &stage("s", 1), 2).await.as_deref(), Some("i"));
    let all = store.changes_after(0, 100).await.unwrap();
    assert_eq!(
        told(&all),
        ["instance i p ready: test", "instance i p claimed: stage s", "stage s p assigned: instance i"]
    );
}

pub async fn the_newest_come_first(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    insert(&*store, &[ready("b", 2), ready("a", 2), ready("c", 1), ready("d", 3)]).await;
    for (id, created_ms) in [("t", 2), ("s", 2), ("u", 1), ("v", 3)] {
        let none = Stage { candidates: Vec::new(), ..stage(id, created_ms) };
        assert_eq!(begin(&*store, &none, 5).await, None);
    }
    let instances = store.newest_instances(3).await.unwrap();
    assert!(instances.iter().map(|row| row.id.as_str()).eq(["d", "b", "a"]), "{instances:?}");
    let stages = store.newest_stages(3).await.unwrap();
    assert!(stages.iter().map(|row| row.id.as_str()).eq(["v", "t", "s"]), "{stages:?}");
    // The live rows are read oldest first.
    let instances = store.live_instances().await.unwrap();
    assert!(instances.iter().map(|row| row.id.as_str()).eq(["c", "a", "b", "d"]), "{instances:?}");
    let stages = store.open_stages().await.unwrap();
    assert!(stages.iter().map(|row| row.id.as_str()).eq(["u", "s", "t", "v"]), "{stages:?}");
}
