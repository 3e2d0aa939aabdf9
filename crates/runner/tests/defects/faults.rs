//! The real database, with calls that fail on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::{Change, Holder, Lease, Leasing, Limits, Store, StoreError, WriteTrouble};
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, Subject};
use kiln_store::SqlStore;

/// A store that fails on demand.
pub struct Faulty {
    inner: Arc<SqlStore>,
    /// All calls fail.
    pub down: AtomicBool,
    /// This many calls succeed, and the next one fails; 0 for none.
    next: AtomicU32,
    /// Whether the failing call is carried out nevertheless.
    carried_out: AtomicBool,
}

impl Faulty {
    pub fn new(inner: Arc<SqlStore>) -> Self {
        Self { inner, down: AtomicBool::default(), next: AtomicU32::new(0), carried_out: AtomicBool::default() }
    }

    /// Makes the call with this number fail, counted from 1 from now on.
    pub fn fail_call(&self, number: u32, carried_out: bool) {
        self.carried_out.store(carried_out, Ordering::SeqCst);
        self.next.store(number, Ordering::SeqCst);
    }

    /// Tells whether the requested failure has not happened yet.
    pub fn is_armed(&self) -> bool {
        self.next.swap(0, Ordering::SeqCst) > 0
    }

    fn fails(&self) -> bool {
        let counted = self.next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        counted == Ok(1) || self.down.load(Ordering::SeqCst)
    }

    async fn pass<T>(&self, call: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        if !self.fails() {
            return call.await;
        }
        let ambiguous = self.carried_out.load(Ordering::SeqCst) && !self.down.load(Ordering::SeqCst);
        if ambiguous {
            // Its answer is lost.
            drop(call.await);
        }
        Err(StoreError { message: "the test lets this call fail".to_owned(), ambiguous })
    }
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Store for Faulty {
            fn unreadable(&self) -> BTreeMap<(Subject, String), String> {
                self.inner.unreadable()
            }

            fn write_trouble(&self) -> Option<WriteTrouble> {
                self.inner.write_trouble()
            }

            $(fn $name<'a>(&'a self $(, $arg: $type)*) -> BoxFuture<'a, Result<$answer, StoreError>> {
                self.pass(self.inner.$name($($arg),*)).boxed()
            })*
        }
    };
}

pass_on! {
    flush() -> ();
    anchor(boot: &'a str, epoch_ms: i64) -> i64;
    enroll(me: &'a Holder) -> ();
    lease(me: &'a Holder, wanted: &'a BTreeMap<String, Option<Lease>>) -> Leasing;
    release_leases(me: &'a Holder) -> ();
    live_instances() -> Vec<Instance>;
    instance(id: &'a InstanceId) -> Option<Instance>;
    insert_instances(rows: &'a [Instance], limits: Limits, reason: &'a str) -> bool;
    update_instance(row: &'a Instance, reason: &'a str) -> bool;
    open_stages() -> Vec<Stage>;
    stage(id: &'a StageId) -> Option<Stage>;
    begin_stage(stage: &'a Stage, now_ms: i64) -> (Stage, Option<Instance>);
    claim(stage: &'a Stage, now_ms: i64) -> Option<(Stage, Instance)>;
    update_stage(stage: &'a Stage) -> bool;
    streaks() -> BTreeMap<String, Streak>;
    note_start(flavor: &'a str, now_ms: i64, failure: Option<&'a Cause>) -> ();
    timeline(id: &'a str, limit: u32) -> Vec<Change>;
    changes_after(seq: i64, limit: u32) -> Vec<Change>;
    newest_instances(limit: u32) -> Vec<Instance>;
    newest_stages(limit: u32) -> Vec<Stage>;
    prune(before_ms: i64) -> u64;
    drained() -> BTreeSet<String>;
    set_drained(pool: &'a str, drained: bool) -> ();
}
