//! Conformance checks that every store must pass.
//!
//! A failed expectation panics: this is a test suite that lives in the library so that stores in other crates can use
//! it.

#![allow(clippy::unwrap_used, reason = "the checks are tests, and are not marked as such")]

mod claims;
mod fleet;
mod history;
mod instances;
mod order;

use std::sync::Arc;

use futures::future::BoxFuture;
use kiln_pool::plan::WaitReason;
use kiln_pool::{Candidate, Instance, InstanceId, Stage, StageId, StageState, State};

use crate::world::{Limits, Store};

/// A store for one check. It has no rows at first.
pub trait Backend: Send + Sync {
    /// Opens the store as another runner would.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>>;
}

/// A check. It gets a store of its own.
pub type Check = fn(Arc<dyn Backend>) -> BoxFuture<'static, ()>;

macro_rules! checks {
    ($($module:ident::$name:ident,)*) => {
        /// All checks, by name.
        pub const CHECKS: &[(&str, Check)] = &[$((stringify!($name), |backend| Box::pin($module::$name(backend))),)*];
    };
}

checks! {
    instances::rows_come_back_as_they_were_written,
    instances::a_late_update_changes_nothing,
    instances::limits_count_what_is_not_gone,
    instances::many_inserts_at_once_never_pass_a_limit,
    instances::a_batch_is_written_whole_or_not_at_all,
    claims::a_stage_waits_or_gets_the_oldest,
    claims::what_is_held_or_of_another_kind_is_not_claimed,
    claims::a_claim_for_a_changed_stage_takes_nothing,
    claims::a_stage_has_one_instance_at_a_time,
    claims::one_stage_asked_for_many_times_at_once_gets_one_instance,
    claims::claims_at_once_get_an_instance_each,
    order::stages_of_one_flavor_are_served_in_their_order,
    order::a_repetition_gets_what_there_is,
    order::a_known_stage_that_waits_is_claimed_for_again,
    fleet::leases_have_one_holder,
    fleet::of_two_processes_of_a_name_the_later_one_goes_on,
    fleet::all_processes_of_a_boot_share_its_epoch_while_something_is_open,
    fleet::racing_runners_share_the_leases,
    fleet::streaks_grow_and_end,
    fleet::drained_pools_are_known_to_all,
    history::the_timeline_tells_each_change,
    history::a_stage_that_gets_its_instance_at_once_never_waited,
    history::old_rows_are_forgotten_with_their_changes,
    history::the_newest_come_first,
}

/// No limit.
pub const UNLIMITED: Limits = Limits { pool: u32::MAX, flavor: None };

/// Makes a warm instance of pool `p`, flavor `p/small`, image `img`.
#[must_use]
pub fn ready(id: &str, created_ms: i64) -> Instance {
    Instance {
        id: InstanceId::new(id),
        pool: "p".to_owned(),
        flavor: "p/small".to_owned(),
        site: "fake".into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: "img".to_owned(),
        digest: "d".to_owned(),
        state: State::Ready,
        generation: 1,
        runner: "r".to_owned(),
        stage: None,
        created_ms,
        since_ms: created_ms,
        ready_ms: Some(created_ms),
        claimed_ms: None,
        deadline_ms: None,
        hold_until_ms: None,
        retry_ms: Some(7),
        attempts: 3,
        address: None,
        server_name: None,
        needs_claim: false,
        cause: None,
    }
}

/// Makes a candidate: a kind of instance that would do.
#[must_use]
pub fn candidate(flavor: &str, image: &str) -> Candidate {
    Candidate { pool: "p".to_owned(), flavor: flavor.to_owned(), image: image.to_owned() }
}

/// Makes a stage that wants an instance as [`ready`] makes them.
#[must_use]
pub fn stage(id: &str, created_ms: i64) -> Stage {
    Stage {
        id: StageId::new(id),
        pool: "p".to_owned(),
        candidates: vec![candidate("p/small", "img")],
        account: "acc".to_owned(),
        state: StageState::Waiting,
        generation: 1,
        instance: None,
        created_ms,
        wait_until_ms: created_ms + 1_000,
        run_ms: 5_000,
        assigned_ms: None,
        set_up: false,
        attempts: 0,
        why: Some(WaitReason::Starting { flavor: "p/small".to_owned() }),
        cause: None,
        ended_ms: None,
    }
}

/// Inserts instances one by one.
///
/// # Panics
/// When a row is not written.
pub async fn insert(store: &dyn Store, rows: &[Instance]) {
    for row in rows {
        assert!(store.insert_instances(std::slice::from_ref(row), UNLIMITED, "test").await.unwrap(), "{}", row.id);
    }
}

/// Asks for an instance for a stage and returns the id of the instance that it got.
async fn begin(store: &dyn Store, row: &Stage, now_ms: i64) -> Option<String> {
    store.begin_stage(row, now_ms).await.unwrap().1.map(|instance| instance.id.to_string())
}
