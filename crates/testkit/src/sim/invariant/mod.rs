//! The invariants, by name. Each is checked where it could break: at changes of rows, at calls, at changes of the
//! clouds, and after every step.
//!
//! | invariant | meaning |
//! |---|---|
//! | `row_is_known`, `row_changes_are_legal` | only known rows change, by one generation, along the drawing of their states |
//! | `one_instance_one_stage` | an instance has one stage in its life, and a stage one instance at a time, for clients too |
//! | `no_wrong_kill` | an instance that serves an open stage ends only for a cause that is allowed and true; nothing is destroyed before its row says so |
//! | `hold_is_kept` | an instance that an operator holds is not claimed and outlives its stage |
//! | `limit_is_a_limit` | live rows and existing VMs never exceed it together |
//! | `intent_before_effect` | a launch has a row in `launching`, a call for sleep or waking one that says so |
//! | `told_when_durable` | a launch leaves when its rows would survive a power cut, and a caller is told of an instance when its claim would |
//! | `one_token_one_launch` | a token always asks for the same |
//! | `one_work_at_a_time` | one process does one thing at a time with an instance |
//! | `every_end_has_a_cause`, `causes_are_true` | every end has a cause, and each cause is what happened |
//! | `restart_kills_nobody` | silence counts from the start of the process |
//! | `outage_kills_nobody` | the time for which a row has not progressed counts from when the store became usable again |
//! | `contact_is_kept` | the agent of every instance that is ready or serves a stage is asked for its health, which renews its lease, whatever the store does |
//! | `ready_agents_answer` | an instance whose agent does not answer under its own name does not stay ready |
//! | `tenants_never_meet` | a stage gets an instance of its own tenant's flavor |
//! | `no_dead_vm_is_given` | a claimed VM runs, unless it died too recently to be noticed |
//! | `breaker_holds` | nothing is made while a flavor's breaker is open |
//! | `drained_stays_empty` | nothing is made for a drained pool |
//! | `no_leak` | a VM without a live row is gone soon |
//! | `lost_launches_are_adopted` | a VM whose launch has no known outcome is adopted soon |
//! | `lost_stages_are_told` | a stage whose instance is gone ends soon |
//! | `ages_are_kept`, `deadline_is_kept` | no instance gets much older than it may, no stage runs much longer |
//! | `leases_are_kept` | nobody takes a lease that its holder still relies on |
//! | `one_process_a_runner` | of two processes of one name, the earlier one ends |
//! | `no_storm` | no call about one instance is repeated again and again without a pause |

mod calls;
mod leases;
mod rows;
mod stages;
mod step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kiln_pool::{InstanceId, StageId};

pub use calls::{destroyed, made, ordered};
pub use leases::leased;
pub use rows::instance_changed;
pub use stages::{claimed, handed_out, stage_changed};
pub use step::{after_step, is_strange};

/// The observers' memory.
#[derive(Debug, Default)]
pub struct Marks {
    /// Instances whose row has ever been in `launching`.
    pub was_launching: BTreeSet<InstanceId>,
    /// Instances whose row was inserted, or that were claimed, since the store was last flushed.
    pub unflushed: BTreeSet<InstanceId>,
    /// The instance that a stage's clients got, by the stage's attempt.
    pub handed_out: BTreeMap<(StageId, i64), InstanceId>,
    /// The stage whose clients got each instance.
    pub handed_to: BTreeMap<InstanceId, StageId>,
    /// Stages whose end was requested.
    pub asked_to_end: BTreeSet<StageId>,
    /// Instances whose end an operator requested.
    pub asked_to_destroy: BTreeSet<InstanceId>,
    /// Instances whose set-up a client reported as failed.
    pub setup_failed: BTreeSet<InstanceId>,
    /// Time of the latest recorded start of each flavor.
    pub start_noted_ms: BTreeMap<String, i64>,
    /// Time of the latest drain of each pool, or of its end.
    pub drained_since_ms: BTreeMap<String, i64>,
    /// `well_ms` at each stage's assignment.
    pub assigned_well: BTreeMap<StageId, i64>,
    /// `well_ms` since when open stages have had an instance that does not serve them.
    pub lost_well: BTreeMap<StageId, i64>,
    /// True time and `well_ms` at each instance's creation.
    pub created: BTreeMap<InstanceId, (i64, i64)>,
    /// Greatest limits that were ever in force, by pool and by flavor.
    pub limits: BTreeMap<String, u32>,
    /// Times of the latest calls of one kind about one instance.
    pub calls_ms: BTreeMap<(&'static str, String), VecDeque<i64>>,
    /// Time of the latest acquisition or renewal of each lease.
    pub beats_ms: BTreeMap<String, i64>,
    /// Whether a runner dated rows by another clock in this run, so that times of different rows cannot be compared.
    pub clocks_differ: bool,
    /// Whether a process was paused in this run.
    pub stood_still: bool,
    /// Whether the configuration changed in this run.
    pub reloaded: bool,
    /// Number of events of each kind, to show that a run is meaningful.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Marks {
    /// Counts an event.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
