//! The checks, and what they need.

mod claims;
mod contention;
mod fleet;
mod instances;

use std::sync::Arc;

use futures::future::BoxFuture;
use kiln_engine::world::{Limits, Store as _};
use kiln_pool::plan::WaitReason;
use kiln_pool::{Candidate, Instance, InstanceId, Stage, StageId, StageState, State};
use kiln_store::SqlStore;

/// An empty database.
#[derive(Clone)]
pub struct Backend {
    pub url: String,
}

impl Backend {
    /// Another runner's view of it.
    pub async fn open(&self) -> Arc<SqlStore> {
        kiln_store::open(&self.url).await.unwrap().store
    }
}

pub type Check = fn(Backend) -> BoxFuture<'static, ()>;

macro_rules! checks {
    ($($module:ident::$name:ident,)*) => {
        /// All of them, each for a database of its own.
        pub const CHECKS: &[(&str, Check)] = &[$((stringify!($name), |backend| Box::pin($module::$name(backend))),)*];
    };
}

checks! {
    instances::rows_come_back_as_they_were_written,
    instances::a_late_update_changes_nothing,
    instances::limits_count_what_is_not_gone,
    instances::many_inserts_at_once_never_pass_a_limit,
    claims::a_stage_waits_or_gets_the_oldest,
    claims::what_is_held_or_of_another_kind_is_not_claimed,
    claims::stages_of_one_flavor_are_served_in_their_order,
    claims::a_repetition_gets_what_there_is,
    claims::a_claim_for_a_changed_stage_takes_nothing,
    claims::a_stage_has_one_instance_at_a_time,
    claims::one_stage_asked_for_many_times_at_once_gets_one_instance,
    contention::many_claimers_never_share_an_instance,
    contention::claims_at_once_get_an_instance_each,
    fleet::leases_have_one_holder,
    fleet::of_two_processes_of_a_name_the_later_one_goes_on,
    fleet::all_processes_of_a_boot_share_its_epoch_while_something_is_open,
    fleet::racing_runners_share_the_leases,
    fleet::streaks_drains_and_what_is_remembered,
    fleet::the_timeline_tells_each_change,
    fleet::old_rows_are_forgotten_with_their_changes,
    fleet::all_is_there_after_another_start,
}

/// No limit.
pub const UNLIMITED: Limits = Limits { pool: u32::MAX, flavor: None };

/// A warm instance of pool `p`, flavor `p/small`, image `img`.
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

/// One kind that would do.
pub fn candidate(flavor: &str, image: &str) -> Candidate {
    Candidate { pool: "p".to_owned(), flavor: flavor.to_owned(), image: image.to_owned() }
}

/// A stage that wants what [`ready`] makes.
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

/// Writes instances.
pub async fn insert(store: &SqlStore, rows: &[Instance]) {
    for row in rows {
        assert!(store.insert_instances(std::slice::from_ref(row), UNLIMITED, "test").await.unwrap(), "{}", row.id);
    }
}
