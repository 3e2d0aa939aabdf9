//! The order in which stages are served, and the answers to repeated demands.

use std::sync::Arc;

use kiln_pool::{Cause, Code, Instance, Stage, StageState, State};

use super::{Backend, begin, candidate, insert, ready, stage};

pub async fn stages_of_one_flavor_are_served_in_their_order(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    assert_eq!(store.begin_stage(&stage("m", 10), 10).await.unwrap().1, None);
    insert(&*store, &[ready("one", 1), ready("two", 1), ready("three", 1)]).await;
    let got = async |row: Stage| begin(&*store, &row, 100).await;
    assert_eq!(got(stage("late", 11)).await, None, "an older one waits");
    assert_eq!(got(stage("n", 10)).await, None, "of the same age, the id decides");
    assert_eq!(got(stage("a", 10)).await.as_deref(), Some("one"));
    let other = Stage { candidates: vec![candidate("p/large", "img"), candidate("p/small", "img")], ..stage("o", 12) };
    assert_eq!(got(other).await.as_deref(), Some("three"), "it waits for another flavor first");
    // The older stage is served when it asks again, then the next one.
    assert_eq!(got(stage("m", 10)).await.as_deref(), Some("two"));
    assert_eq!(got(stage("n", 10)).await, None);
    insert(&*store, &[ready("four", 1)]).await;
    assert_eq!(got(stage("late", 11)).await, None);
    assert_eq!(got(stage("n", 10)).await.as_deref(), Some("four"));
}

pub async fn a_repetition_gets_what_there_is(backend: Arc<dyn Backend>) {
    let (store, other) = (backend.open().await, backend.open().await);
    insert(&*store, &[ready("one", 1), ready("two", 2)]).await;
    let first = store.begin_stage(&stage("s", 1), 10).await.unwrap();
    let changed = Stage { account: "somebody else".to_owned(), ..stage("s", 99) };
    assert_eq!(other.begin_stage(&changed, 20).await.unwrap(), first);
    let ended = first.0.ended(Cause::new(Code::Destroyed, "bye"), 30).unwrap();
    assert!(other.update_stage(&ended).await.unwrap());
    let (there, instance) = store.begin_stage(&stage("s", 1), 40).await.unwrap();
    assert_eq!((there, instance.map(|i| i.id)), (ended, Some("one".into())));
    assert_eq!(store.instance(&"two".into()).await.unwrap().unwrap().state, State::Ready);
    assert_eq!(store.open_stages().await.unwrap(), []);
}

/// A repeated demand for a waiting stage is served at once when there is an instance by then.
pub async fn a_known_stage_that_waits_is_claimed_for_again(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    assert_eq!(begin(&*store, &stage("s", 1), 10).await, None);
    assert_eq!(begin(&*store, &stage("s", 1), 11).await, None);
    let large = Instance { flavor: "p/large".to_owned(), ..ready("large", 0) };
    insert(&*store, &[ready("one", 1), large]).await;
    // The stored row decides, not the repeated demand.
    let other = Stage { candidates: vec![candidate("p/large", "img")], run_ms: 1, ..stage("s", 99) };
    let (assigned, instance) = store.begin_stage(&other, 20).await.unwrap();
    let expected = Stage {
        state: StageState::Assigned,
        generation: 2,
        instance: Some("one".into()),
        assigned_ms: Some(20),
        ..stage("s", 1)
    };
    assert_eq!((&assigned, store.stage(&"s".into()).await.unwrap()), (&expected, Some(expected.clone())));
    let instance = instance.unwrap();
    assert_eq!((instance.id.as_str(), instance.deadline_ms), ("one", Some(20 + 5_000)));
    // The row says that the stage has an instance.
    assert_eq!(store.begin_stage(&stage("s", 1), 30).await.unwrap(), (assigned, Some(instance)));
}
