//! Leases, boots, streaks, drained pools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Code, State};

use super::{Backend, insert, ready, stage};
use crate::world::{Holder, Lease, Leasing, Store};

/// Enrolls a process of a runner.
async fn enrolled(store: &dyn Store, name: &str, process: &str) -> Holder {
    let me = Holder { name: name.to_owned(), process: process.to_owned() };
    store.enroll(&me).await.unwrap();
    me
}

/// Asks for leases, each with the row at which it may be taken, and returns all leases after that.
async fn ask(store: &dyn Store, me: &Holder, wanted: &[(&str, Option<&Lease>)]) -> BTreeMap<String, Lease> {
    let wanted = wanted.iter().map(|(name, seen)| ((*name).to_owned(), seen.cloned())).collect();
    match store.lease(me, &wanted).await.unwrap() {
        Leasing::Rows(rows) => rows,
        Leasing::Superseded => panic!("{me:?} is superseded"),
    }
}

fn lease(me: &Holder, beat: i64) -> Lease {
    Lease { holder: me.name.clone(), process: me.process.clone(), beat }
}

pub async fn leases_have_one_holder(backend: Arc<dyn Backend>) {
    let (one, two) = (backend.open().await, backend.open().await);
    let (mine, others) = (enrolled(&*one, "one", "1").await, enrolled(&*two, "two", "2").await);
    let is = |rows: &BTreeMap<String, Lease>, expected: &[(&str, Lease)]| {
        assert!(
            rows.iter().map(|(name, lease)| (name.as_str(), lease.clone())).eq(expected.iter().cloned()),
            "{rows:?}"
        );
    };
    is(&ask(&*one, &mine, &[("a", None), ("b", None)]).await, &[("a", lease(&mine, 0)), ("b", lease(&mine, 0))]);
    let rows = ask(&*two, &others, &[("b", None), ("c", None)]).await;
    is(&rows, &[("a", lease(&mine, 0)), ("b", lease(&mine, 0)), ("c", lease(&others, 0))]);
    // The lease is renewed, so the row that the other runner saw is out of date.
    let rows = ask(&*one, &mine, &[("b", None)]).await;
    is(&rows, &[("a", lease(&mine, 0)), ("b", lease(&mine, 1)), ("c", lease(&others, 0))]);
    let seen = lease(&mine, 0);
    let rows = ask(&*two, &others, &[("a", Some(&seen)), ("b", Some(&seen)), ("c", None)]).await;
    is(&rows, &[("a", lease(&others, 1)), ("b", lease(&mine, 1)), ("c", lease(&others, 1))]);
    // A lease that was given up is free for anybody at once, and its former holder cannot take it for unchanged.
    one.release_leases(&mine).await.unwrap();
    let rows = ask(&*one, &mine, &[]).await;
    assert_eq!(rows["b"], Lease { holder: String::new(), process: String::new(), beat: 2 });
    assert_eq!(ask(&*two, &others, &[("b", None)]).await["b"], lease(&others, 3));
    assert_eq!(rows["a"], lease(&others, 1), "only its own");
}

pub async fn of_two_processes_of_a_name_the_later_one_goes_on(backend: Arc<dyn Backend>) {
    let (one, two) = (backend.open().await, backend.open().await);
    let other = enrolled(&*one, "other", "9").await;
    ask(&*one, &other, &[("c", None)]).await;
    let first = enrolled(&*one, "same", "1").await;
    ask(&*one, &first, &[("a", None), ("b", None)]).await;
    let second = enrolled(&*two, "same", "2").await;
    let wanted = BTreeMap::from([("a".to_owned(), None), ("d".to_owned(), None)]);
    assert_eq!(one.lease(&first, &wanted).await.unwrap(), Leasing::Superseded);
    // The later process holds at once what the earlier one held, but nothing of another runner.
    let rows = ask(&*two, &second, &[("a", None), ("b", None), ("c", None)]).await;
    assert_eq!(
        rows,
        BTreeMap::from([
            ("a".to_owned(), lease(&second, 1)),
            ("b".to_owned(), lease(&second, 1)),
            ("c".to_owned(), lease(&other, 0)),
        ])
    );
    one.release_leases(&first).await.unwrap();
    assert_eq!(ask(&*two, &second, &[]).await, rows, "the first one has nothing to give up");
    assert_eq!(one.lease(&first, &BTreeMap::new()).await.unwrap(), Leasing::Superseded);
}

pub async fn racing_runners_share_the_leases(backend: Arc<dyn Backend>) {
    let stores = [backend.open().await, backend.open().await];
    let wanted: BTreeMap<_, _> = (0..10).map(|n| (format!("pool {n}"), None)).collect();
    let tries = (0..20).map(|n| {
        let (store, wanted) = (stores[n % 2].clone(), wanted.clone());
        async move {
            let me = enrolled(&*store, &format!("runner {n}"), &n.to_string()).await;
            let Leasing::Rows(rows) = store.lease(&me, &wanted).await.unwrap() else { panic!("superseded") };
            rows.into_iter().filter(|(_, lease)| lease.process == me.process).map(|(name, _)| name).collect::<Vec<_>>()
        }
    });
    let held: Vec<_> = join_all(tries).await.into_iter().flatten().collect();
    assert_eq!(held.len(), wanted.len(), "{held:?}");
    assert!(held.into_iter().collect::<BTreeSet<_>>().iter().eq(wanted.keys()));
}

pub async fn all_processes_of_a_boot_share_its_epoch_while_something_is_open(backend: Arc<dyn Backend>) {
    let (one, two) = (backend.open().await, backend.open().await);
    assert_eq!(one.anchor("boot", 1_000).await.unwrap(), 1_000);
    assert_eq!(two.anchor("boot", 9_000).await.unwrap(), 9_000, "nothing is open");
    let row = ready("i", 1);
    insert(&*one, std::slice::from_ref(&row)).await;
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

pub async fn streaks_grow_and_end(backend: Arc<dyn Backend>) {
    let (store, other) = (backend.open().await, backend.open().await);
    for (flavor, at, code, why) in
        [("a", 1, Code::BootTimeout, "x"), ("b", 2, Code::NoRoom, "y"), ("a", 3, Code::LaunchFailed, "ü")]
    {
        store.note_start(flavor, at, Some(&Cause::new(code, why))).await.unwrap();
    }
    let streak = |failures, at_ms, evidence: &str| Streak { failures, at_ms, evidence: evidence.to_owned() };
    let (a, b) = (streak(2, 3, "launch_failed: ü"), streak(1, 2, "no_room: y"));
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
}

pub async fn drained_pools_are_known_to_all(backend: Arc<dyn Backend>) {
    let (store, other) = (backend.open().await, backend.open().await);
    for (pool, drained) in [("p", true), ("p", true), ("q", true), ("q", false), ("r", false)] {
        store.set_drained(pool, drained).await.unwrap();
    }
    assert_eq!(other.drained().await.unwrap(), BTreeSet::from(["p".to_owned()]));
}
