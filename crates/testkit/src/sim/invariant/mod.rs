//! What must hold, by name. Each is checked where it could break: at changes of rows, at calls, at changes of the clouds, and
//! after every step.
//!
//! | invariant | what it says |
//! |---|---|
//! | `row_is_known`, `row_changes_are_legal` | only known rows change, by one generation, along the drawing of their states |
//! | `one_instance_one_stage` | an instance has one stage in its life, and a stage one instance at a time, for clients too |
//! | `no_wrong_kill` | what serves an open stage ends only for a cause that is allowed and true; nothing is destroyed before its row says so |
//! | `hold_is_kept` | what an operator holds is not claimed and outlives its stage |
//! | `limit_is_a_limit` | rows that live and VMs that exist never pass it together |
//! | `intent_before_effect` | a launch has a row in `launching`, a call for sleep or waking one that says so |
//! | `one_token_one_launch` | a token asks for the same each time |
//! | `one_work_at_a_time` | one process does one thing at a time with an instance |
//! | `every_end_has_a_cause`, `causes_are_true` | no end without a cause, and each cause is what happened |
//! | `restart_kills_nobody` | judgements about silence count from the start of the process |
//! | `outage_kills_nobody` | those about rows that do not go on count from when the store could be used again |
//! | `contact_is_kept` | whoever is ready or serves a stage is asked for its health, which renews its lease, whatever the store does |
//! | `ready_agents_answer` | an instance whose agent does not answer under its own name does not stay ready |
//! | `tenants_never_meet` | a stage gets an instance of its own tenant's flavor |
//! | `no_dead_vm_is_given` | a claimed VM runs, unless it died too short a while ago to be noticed |
//! | `breaker_holds` | nothing is made while a flavor's breaker is open |
//! | `drained_stays_empty` | nothing is made for a drained pool |
//! | `no_leak` | a VM without a live row is gone soon |
//! | `lost_launches_are_adopted` | a VM whose launch has no known outcome is taken soon |
//! | `lost_stages_are_told` | a stage whose instance is not there any more ends soon |
//! | `ages_are_kept`, `deadline_is_kept` | nothing gets much older than it may, no stage runs much longer |
//! | `leases_are_kept` | nobody takes a lease that its holder still counts on |
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

/// What the observers remember.
#[derive(Debug, Default)]
pub struct Marks {
    /// Instances whose row was in `launching` once.
    pub was_launching: BTreeSet<InstanceId>,
    /// Which instance clients of a stage got at which attempt of it.
    pub handed_out: BTreeMap<(StageId, i64), InstanceId>,
    /// Which stage's clients got an instance.
    pub handed_to: BTreeMap<InstanceId, StageId>,
    /// Stages whose end somebody asked for.
    pub asked_to_end: BTreeSet<StageId>,
    /// Instances whose end an operator asked for.
    pub asked_to_destroy: BTreeSet<InstanceId>,
    /// Instances whose set-up a client reported as failed.
    pub setup_failed: BTreeSet<InstanceId>,
    /// When the start of a flavor was last noted.
    pub start_noted_ms: BTreeMap<String, i64>,
    /// When a pool was last drained, or the opposite.
    pub drained_since_ms: BTreeMap<String, i64>,
    /// `well_ms` at each stage's assignment.
    pub assigned_well: BTreeMap<StageId, i64>,
    /// `well_ms` since when open stages have an instance that does not serve them.
    pub lost_well: BTreeMap<StageId, i64>,
    /// True time and `well_ms` at each instance's creation.
    pub created: BTreeMap<InstanceId, (i64, i64)>,
    /// Greatest limits that were ever in force, by pool and by flavor.
    pub limits: BTreeMap<String, u32>,
    /// When the latest calls of one kind about one instance were made.
    pub calls_ms: BTreeMap<(&'static str, String), VecDeque<i64>>,
    /// When each lease was taken or renewed last.
    pub beats_ms: BTreeMap<String, i64>,
    /// Whether a runner dated rows by another clock in this run, so that times of different rows cannot be compared.
    pub clocks_differ: bool,
    /// Whether a process stood still in this run.
    pub stood_still: bool,
    /// Whether the configuration changed in this run.
    pub reloaded: bool,
    /// How often each thing happened, to see that a run is worth something.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Marks {
    /// Counts one more.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
