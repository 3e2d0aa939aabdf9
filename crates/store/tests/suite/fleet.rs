//! Leases, streaks, drains, the timeline, and what is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kiln_engine::world::{Change, Holder, Lease, Leasing, Store as _};
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Code, Stage, StageState, State};

use kiln_store::SqlStore;

use super::{Backend, insert, ready, stage};

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// A process, enrolled.
async fn enrolled(store: &SqlStore, name: &str, process: &str) -> Holder {
    let me = Holder { name: name.to_owned(), process: process.to_owned() };
    store.enroll(&me).await.unwrap();
    me
}

/// Asks for leases, each with the beat that may be taken; what all of them are then.
async fn ask(store: &SqlStore, me: &Holder, wanted: &[(&str, Option<&Lease>)]) -> BTreeMap<String, Lease> {
    let wanted = wanted.iter().map(|(name, seen)| ((*name).to_owned(), seen.cloned())).collect();
    match store.lease(me, &wanted).await.unwrap() {
        Leasing::Rows(rows) => rows,
        Leasing::Superseded => panic!("{me:?} is superseded"),
    }
}

fn lease(me: &Holder, beat: i64) -> Lease {
    Lease { holder: me.name.clone(), process: me.process.clone(), beat }
}

pub async fn leases_have_one_holder(backend: Backend) {
    let (one, two) = (backend.open().await, backend.open().await);
    let (mine, others) = (enrolled(&one, "one", "1").await, enrolled(&two, "two", "2").await);
    let is = |rows: &BTreeMap<String, Lease>, expected: &[(&str, Lease)]| {
        assert!(
            rows.iter().map(|(name, lease)| (name.as_str(), lease.clone())).eq(expected.iter().cloned()),
            "{rows:?}"
        );
    };
    is(&ask(&one, &mine, &[("a", None), ("b", None)]).await, &[("a", lease(&mine, 0)), ("b", lease(&mine, 0))]);
    let rows = ask(&two, &others, &[("b", None), ("c", None)]).await;
    is(&rows, &[("a", lease(&mine, 0)), ("b", lease(&mine, 0)), ("c", lease(&others, 0))]);
    // Renewed: what the other one saw is the past.
    let rows = ask(&one, &mine, &[("b", None)]).await;
    is(&rows, &[("a", lease(&mine, 0)), ("b", lease(&mine, 1)), ("c", lease(&others, 0))]);
    let seen = lease(&mine, 0);
    let rows = ask(&two, &others, &[("a", Some(&seen)), ("b", Some(&seen)), ("c", None)]).await;
    is(&rows, &[("a", lease(&others, 1)), ("b", lease(&mine, 1)), ("c", lease(&others, 1))]);
    // Given up: anybody may have it at once, and who had it cannot take it for unchanged.
    one.release_leases(&mine).await.unwrap();
    let rows = ask(&one, &mine, &[]).await;
    assert_eq!(rows["b"], Lease { holder: String::new(), process: String::new(), beat: 2 });
    assert_eq!(ask(&two, &others, &[("b", None)]).await["b"], lease(&others, 3));
    assert_eq!(rows["a"], lease(&others, 1), "only its own");
}

pub async fn of_two_processes_of_a_name_the_later_one_goes_on(backend: Backend) {
    let (one, two) = (backend.open().await, backend.open().await);
    let other = enrolled(&one, "other", "9").await;
    ask(&one, &other, &[("c", None)]).await;
    let first = enrolled(&one, "same", "1").await;
    ask(&one, &first, &[("a", None), ("b", None)]).await;
    let second = enrolled(&two, "same", "2").await;
    let wanted = BTreeMap::from([("a".to_owned(), None), ("d".to_owned(), None)]);
    assert_eq!(one.lease(&first, &wanted).await.unwrap(), Leasing::Superseded);
    // It has at once what the first one had, and not what another runner has.
    let rows = ask(&two, &second, &[("a", None), ("b", None), ("c", None)]).await;
    assert_eq!(
        rows,
        BTreeMap::from([
            ("a".to_owned(), lease(&second, 1)),
            ("b".to_owned(), lease(&second, 1)),
            ("c".to_owned(), lease(&other, 0)),
        ])
    );
    one.release_leases(&first).await.unwrap();
    assert_eq!(ask(&two, &second, &[]).await, rows, "the first one has nothing to give up");
    assert_eq!(one.lease(&first, &BTreeMap::new()).await.unwrap(), Leasing::Superseded);
}

pub async fn racing_runners_share_the_leases(backend: Backend) {
    let stores = [backend.open().await, backend.open().await];
    let wanted: BTreeMap<_, _> = (0..10).map(|n| (format!("pool {n}"), None)).collect();
    let tries = (0..20).map(|n| {
        let (store, wanted) = (stores[n % 2].clone(), wanted.clone());
        tokio::spawn(async move {
            let me = enrolled(&store, &format!("runner {n}"), &n.to_string()).await;
            let Leasing::Rows(rows) = store.lease(&me, &wanted).await.unwrap() else { panic!("superseded") };
            rows.into_iter().filter(|(_, lease)| lease.process == me.process).map(|(name, _)| name).collect::<Vec<_>>()
        })
    });
    let held: Vec<_> = join_all(tries).await.into_iter().flat_map(|held| held.unwrap()).collect();
    assert_eq!(held.len(), wanted.len(), "{held:?}");
    assert!(held.into_iter().collect::<BTreeSet<_>>().iter().eq(wanted.keys()));
}

pub async fn all_processes_of_a_boot_share_its_epoch_while_something_is_open(backend: Backend) {
    let (one, two) = (backend.open().await, backend.open().await);
    assert_eq!(one.anchor("boot", 1_000).await.unwrap(), 1_000);
    assert_eq!(two.anchor("boot", 9_000).await.unwrap(), 9_000, "nothing is open");
    let row = ready("i", 1);
    insert(&one, std::slice::from_ref(&row)).await;
    assert_eq!(one.anchor("boot", 77).await.unwrap(), 9_000, "an instance is live");
    assert_eq!(one.anchor("another boot", 77).await.unwrap(), 77);
    let ends = row.terminating(Cause::new(Code::Surplus, ""), 2).unwrap();
    assert!(one.update_instance(&ends, "").await.unwrap());
    assert_eq!(one.anchor("boot", 77).await.unwrap(), 9_000, "it is not gone yet");
    assert!(one.update_instance(&ends.become_(State::Gone, 3).unwrap(), "").await.unwrap());
    two.begin_stage(&stage("s", 1), 1).await.unwrap();
    assert_eq!(one.anchor("boot", 77).await.unwrap(), 9_000, "a stage waits");
    let ended = stage("s", 1).ended(Cause::new(Code::Destroyed, ""), 4).unwrap();
    assert!(one.update_stage(&ended).await.unwrap());
    assert_eq!(one.anchor("boot", 77).await.unwrap(), 77);
    assert_eq!(two.anchor("another boot", 78).await.unwrap(), 78);
}

pub async fn streaks_drains_and_what_is_remembered(backend: Backend) {
    let (store, other) = (backend.open().await, backend.open().await);
    for (flavor, at, code, why) in
        [("a", 1, Code::BootTimeout, "x"), ("b", 2, Code::NoRoom, "y"), ("a", 3, Code::LaunchFailed, "ü\0")]
    {
        store.note_start(flavor, at, Some(&Cause::new(code, why))).await.unwrap();
    }
    let streak = |failures, at_ms, evidence: &str| Streak { failures, at_ms, evidence: evidence.to_owned() };
    let (a, b) = (streak(2, 3, "launch_failed: ü\u{2400}"), streak(1, 2, "no_room: y"));
    assert_eq!(other.streaks().await.unwrap(), BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b.clone())]));
    store.note_start("a", 4, None).await.unwrap();
    store.note_start("never failed", 4, None).await.unwrap();
    assert_eq!(other.streaks().await.unwrap(), BTreeMap::from([("b".to_owned(), b)]));
    for (at, code, failures) in
        [(5, Code::DiedBooting, 2), (6, Code::NoRoom, 3), (7, Code::NoRoom, 3), (8, Code::Died, 4)]
    {
        store.note_start("b", at, Some(&Cause::new(code, ""))).await.unwrap();
        assert_eq!(other.streaks().await.unwrap()["b"].failures, failures);
    }
    store.note_start("forgotten", 7, Some(&Cause::new(Code::NoRoom, ""))).await.unwrap();
    store.prune(8).await.unwrap();
    assert!(other.streaks().await.unwrap().keys().eq(["b"]));

    for (pool, drained) in [("p", true), ("p", true), ("q", true), ("q", false), ("r", false)] {
        store.set_drained(pool, drained).await.unwrap();
    }
    assert_eq!(other.drained().await.unwrap(), names(&["p"]));

    let tries = join_all((0..10).map(|n| {
        let store = if n % 2 == 0 { store.clone() } else { other.clone() };
        async move { store.remember("ca", &format!("fingerprint {n}")).await.unwrap() }
    }));
    let answers: BTreeSet<_> = tries.await.into_iter().collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

pub async fn the_timeline_tells_each_change(backend: Backend) {
    let store = backend.open().await;
    let told = |changes: Vec<Change>| -> Vec<String> {
        changes.iter().map(|c| format!("{} {} {} {}: {}", c.subject, c.id, c.pool, c.state, c.reason)).collect()
    };
    store.begin_stage(&stage("s", 1), 1).await.unwrap();
    insert(&store, &[ready("i", 1)]).await;
    let (assigned, instance) = store.claim(&stage("s", 1), 2).await.unwrap().unwrap();
    let set_up = Stage { set_up: true, generation: 3, ..assigned };
    assert!(store.update_stage(&set_up).await.unwrap());
    let ended = set_up.ended(Cause::new(Code::Cancelled, "by hand"), 3).unwrap();
    assert!(store.update_stage(&ended).await.unwrap());
    let ends = instance.terminating(Cause::new(Code::Cancelled, ""), 4).unwrap();
    assert!(store.update_instance(&ends, "its stage ended").await.unwrap());

    let all = store.changes_after(0, 100).await.unwrap();
    let expected = [
        "stage s p waiting: waits for p/small: an instance starts",
        "instance i p ready: test",
        "instance i p claimed: stage s",
        "stage s p assigned: instance i",
        "stage s p assigned: set up",
        "stage s p ended: cancelled: by hand",
        "instance i p terminating: its stage ended",
    ];
    assert_eq!(told(all.clone()), expected);
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(store.changes_after(all[2].seq, 2).await.unwrap(), all[3..5]);
    assert_eq!(told(store.timeline("i", 2).await.unwrap()), [expected[2], expected[6]], "the latest, oldest first");
    assert_eq!(told(store.timeline("s", 100).await.unwrap()).len(), 4);
    assert_eq!(store.timeline("other", 100).await.unwrap(), []);
}

pub async fn old_rows_are_forgotten_with_their_changes(backend: Backend) {
    let store = backend.open().await;
    let gone = |n: i64| kiln_pool::Instance { state: State::Gone, since_ms: n, ..ready(&format!("i{n:04}"), n) };
    // More than go in one transaction.
    let rows: Vec<_> = (0..1_200).map(gone).collect();
    insert(&store, &rows).await;
    insert(&store, &[ready("warm", 1)]).await;
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
    assert_eq!(stages, names(&["held", "open", "young"]), "a stage stays as long as its instance");
    assert_eq!(store.timeline("i0001", 10).await.unwrap(), []);
    assert_eq!(store.timeline("i1150", 10).await.unwrap().len(), 1);
    assert_eq!(store.prune(1_100).await.unwrap(), 0);
    for (id, changes) in [("old", 0), ("young", 1), ("held", 1), ("open", 1)] {
        assert_eq!(store.timeline(id, 10).await.unwrap().len(), changes, "{id}");
    }
}

pub async fn all_is_there_after_another_start(backend: Backend) {
    let opened = kiln_store::open(&backend.url).await.unwrap();
    let installation = opened.installation.clone();
    let store = opened.store;
    insert(&store, &[ready("i", 1)]).await;
    let (assigned, instance) = store.begin_stage(&stage("s", 1), 2).await.unwrap();
    assert_eq!(store.remember("ca", "one").await.unwrap(), "one");
    store.close().await;
    drop(store);
    let error = {
        let again = kiln_store::open(&backend.url).await.unwrap();
        assert_eq!(again.installation, installation);
        assert_eq!(again.store.stage(&"s".into()).await.unwrap(), Some(assigned));
        assert_eq!(again.store.instance(&"i".into()).await.unwrap(), instance);
        assert_eq!(again.store.remember("ca", "two").await.unwrap(), "one");
        again.store.close().await;
        again.store.live_instances().await.unwrap_err()
    };
    assert!(error.message.starts_with("cannot read the instances: ") && !error.ambiguous, "{error}");
}
