//! Stages, and the claim.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use kiln_pool::plan::WaitReason;
use kiln_pool::{Cause, Code, Instance, Stage, StageState, State};

use super::{Backend, begin, candidate, insert, ready, stage};

pub async fn a_stage_waits_or_gets_the_oldest(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let (waits, none) = store.begin_stage(&stage("early", 1), 50).await.unwrap();
    assert_eq!((waits, none), (stage("early", 1), None));
    assert_eq!(store.open_stages().await.unwrap(), [stage("early", 1)]);
    assert_eq!(store.stage(&"early".into()).await.unwrap(), Some(stage("early", 1)));

    insert(&*store, &[ready("young", 20), ready("b", 10), ready("a", 10)]).await;
    let (assigned, instance) = store.claim(&stage("early", 1), 100).await.unwrap().unwrap();
    let expected_instance = Instance {
        state: State::Claimed,
        generation: 2,
        stage: Some("early".into()),
        since_ms: 100,
        claimed_ms: Some(100),
        deadline_ms: Some(5_100),
        retry_ms: None,
        attempts: 0,
        ..ready("a", 10)
    };
    let expected_stage = Stage {
        state: StageState::Assigned,
        generation: 2,
        instance: Some("a".into()),
        assigned_ms: Some(100),
        ..stage("early", 1)
    };
    assert_eq!((&assigned, &instance), (&expected_stage, &expected_instance));
    assert_eq!(store.stage(&"early".into()).await.unwrap(), Some(expected_stage));
    assert_eq!(store.instance(&"a".into()).await.unwrap(), Some(expected_instance));

    for (id, expected) in [("second", "b"), ("third", "young")] {
        let (assigned, instance) = store.begin_stage(&stage(id, 30), 200).await.unwrap();
        assert_eq!(instance.unwrap().id, expected.into());
        assert_eq!((assigned.state, assigned.generation), (StageState::Assigned, 2));
        assert_eq!(store.stage(&id.into()).await.unwrap(), Some(assigned));
    }
    assert_eq!(store.begin_stage(&stage("fourth", 40), 300).await.unwrap().1, None);
    assert_eq!(
        store.newest_stages(2).await.unwrap().iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
        ["fourth", "third"]
    );
}

pub async fn what_is_held_or_of_another_kind_is_not_claimed(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let rows = [
        Instance { hold_until_ms: Some(1_000), ..ready("held", 1) },
        Instance { image: "other".to_owned(), ..ready("image", 1) },
        Instance { flavor: "p/large".to_owned(), ..ready("large", 1) },
        Instance { state: State::Hibernated, ..ready("asleep", 1) },
    ];
    insert(&*store, &rows).await;
    let got = async |row: Stage| begin(&*store, &row, 999).await;
    assert_eq!(got(stage("a", 1)).await, None);
    let none = Stage { candidates: Vec::new(), ..stage("nothing would do", 1) };
    assert_eq!(got(none).await, None);
    let second = vec![candidate("p/none", "img"), candidate("p/large", "img"), candidate("p/small", "other")];
    assert_eq!(got(Stage { candidates: second.clone(), ..stage("b", 2) }).await.as_deref(), Some("large"));
    assert_eq!(got(Stage { candidates: second.clone(), ..stage("c", 3) }).await.as_deref(), Some("image"));
    assert_eq!(store.stage(&"b".into()).await.unwrap().unwrap().candidates, second);
    // By now the hold has ended.
    let (_, instance) = store.claim(&stage("a", 1), 1_000).await.unwrap().unwrap();
    assert_eq!(instance.id, "held".into());
}

pub async fn a_claim_for_a_changed_stage_takes_nothing(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let read = store.begin_stage(&stage("s", 1), 1).await.unwrap().0;
    let newer =
        Stage { generation: 2, why: Some(WaitReason::Starting { flavor: "still nothing".to_owned() }), ..read.clone() };
    assert!(store.update_stage(&newer).await.unwrap());
    assert!(
        !store
            .update_stage(&Stage { why: Some(WaitReason::Starting { flavor: "late".to_owned() }), ..newer.clone() })
            .await
            .unwrap()
    );
    insert(&*store, &[ready("i", 1)]).await;
    assert_eq!(store.claim(&read, 10).await.unwrap(), None);
    assert_eq!(store.claim(&stage("unknown", 1), 10).await.unwrap(), None);
    assert_eq!(store.instance(&"i".into()).await.unwrap().unwrap(), ready("i", 1));
    let (assigned, _) = store.claim(&newer, 10).await.unwrap().unwrap();
    assert_eq!(assigned.generation, 3);
    assert_eq!(store.claim(&newer, 10).await.unwrap(), None, "it has one");
    assert_eq!(store.claim(&assigned, 10).await.unwrap(), None, "it has one");
}

pub async fn a_stage_has_one_instance_at_a_time(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    insert(&*store, &[ready("one", 1), ready("two", 2)]).await;
    let (assigned, bad) = store.begin_stage(&stage("s", 1), 10).await.unwrap();
    let back = Stage { state: StageState::Waiting, instance: None, assigned_ms: None, generation: 3, ..assigned };
    assert!(store.update_stage(&back).await.unwrap());
    // Its first instance has not been ended yet.
    assert_eq!(store.claim(&back, 20).await.unwrap(), None);
    assert_eq!(store.begin_stage(&stage("s", 1), 20).await.unwrap(), (back.clone(), None));
    let ends = bad.unwrap().terminating(Cause::new(Code::SetupFailed, ""), 21).unwrap();
    assert!(store.update_instance(&ends, "").await.unwrap());
    assert_eq!(store.claim(&back, 22).await.unwrap().unwrap().1.id, "two".into());

    // Whatever a program does, the database refuses an instance with two stages.
    store.begin_stage(&stage("t", 2), 30).await.unwrap();
    let stolen = Stage { state: StageState::Assigned, instance: Some("two".into()), generation: 2, ..stage("t", 2) };
    let error = store.update_stage(&stolen).await.unwrap_err();
    assert!(!error.ambiguous && error.message.contains("stage t"), "{error}");
    // And a stage with two instances.
    insert(&*store, &[ready("three", 3)]).await;
    let second = Instance { state: State::Claimed, stage: Some("s".into()), generation: 2, ..ready("three", 3) };
    let error = store.update_instance(&second, "").await.unwrap_err();
    assert!(!error.ambiguous && error.message.contains("three"), "{error}");
    assert_eq!(store.instance(&"three".into()).await.unwrap().unwrap(), ready("three", 3));
}

pub async fn one_stage_asked_for_many_times_at_once_gets_one_instance(backend: Arc<dyn Backend>) {
    let stores = [backend.open().await, backend.open().await];
    let rows: Vec<_> = (0..20).map(|n| ready(&format!("i{n:02}"), n)).collect();
    insert(&*stores[0], &rows).await;
    for round in 0..10 {
        let row = stage(&format!("s{round}"), 1);
        let tries = (0..20).map(|n| {
            let (store, row) = (&stores[n % 2], &row);
            async move {
                // Most callers begin the stage; every fourth one already knows its row and claims for it.
                if n % 4 == 3 {
                    store.claim(row, 10).await.map(|_| None)
                } else {
                    store.begin_stage(row, 10).await.map(Some)
                }
            }
        });
        let answers: Vec<_> = join_all(tries).await.into_iter().filter_map(|answer| answer.unwrap()).collect();
        let ids: BTreeSet<_> = answers.iter().filter_map(|(_, i)| Some(&i.as_ref()?.id)).collect();
        assert_eq!(ids.len(), 1, "{answers:?}");
        let claimed = stores[1].live_instances().await.unwrap().iter().filter(|i| i.state == State::Claimed).count();
        assert_eq!(claimed, round + 1);
    }
}

/// One pass serves many stages at once. Each stage gets an instance of its own; a stage that has changed meanwhile gets
/// none and disturbs no other.
pub async fn claims_at_once_get_an_instance_each(backend: Arc<dyn Backend>) {
    let store = backend.open().await;
    let stages: Vec<_> = (0..20).map(|n| stage(&format!("s{n:02}"), n)).collect();
    for row in &stages {
        assert_eq!(store.begin_stage(row, 1).await.unwrap().1, None);
    }
    let instances: Vec<_> = (0..15).map(|n| ready(&format!("i{n:02}"), n)).collect();
    insert(&*store, &instances).await;
    // This stage ends before it is served.
    let ended = stages[3].ended(Cause::new(Code::Cancelled, ""), 2).unwrap();
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
