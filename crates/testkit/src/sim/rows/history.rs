//! The timeline, the newest rows, and pruning.

use std::collections::BTreeSet;

use kiln_engine::Change;
use kiln_pool::{Instance, Stage, Subject};

use super::Rows;

impl Rows {
    /// See `Store::timeline`.
    #[must_use]
    pub fn timeline(&self, id: &str, limit: u32) -> Vec<Change> {
        let all: Vec<&Change> = self.changes.iter().filter(|change| change.id == id).collect();
        all[all.len().saturating_sub(limit as usize)..].iter().map(|change| (*change).clone()).collect()
    }

    /// See `Store::changes_after`.
    #[must_use]
    pub fn changes_after(&self, seq: i64, limit: u32) -> Vec<Change> {
        self.changes.iter().filter(|change| change.seq > seq).take(limit as usize).cloned().collect()
    }

    /// See `Store::newest_instances`.
    #[must_use]
    pub fn newest_instances(&self, limit: u32) -> Vec<Instance> {
        let mut all: Vec<&Instance> = self.instances.values().collect();
        all.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
        all.into_iter().take(limit as usize).cloned().collect()
    }

    /// See `Store::newest_stages`.
    #[must_use]
    pub fn newest_stages(&self, limit: u32) -> Vec<Stage> {
        let mut all: Vec<&Stage> = self.stages.values().collect();
        all.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
        all.into_iter().take(limit as usize).cloned().collect()
    }

    /// See `Store::prune`. A stage stays as long as its instance.
    pub fn prune(&mut self, before_ms: i64) -> u64 {
        self.streaks.retain(|_, streak| streak.at_ms >= before_ms);
        let old = |row: &&Instance| !row.is_live() && row.since_ms < before_ms;
        let instances: BTreeSet<String> = self.instances.values().filter(old).map(|row| row.id.to_string()).collect();
        let old = |row: &&Stage| {
            row.ended_ms.is_some_and(|at| at < before_ms)
                && row.instance.as_ref().is_none_or(|id| !self.live.contains(id))
        };
        let stages: BTreeSet<String> = self.stages.values().filter(old).map(|row| row.id.to_string()).collect();
        self.instances.retain(|id, _| !instances.contains(id.as_str()));
        self.stages.retain(|id, _| !stages.contains(id.as_str()));
        self.changes.retain(|change| {
            let of = match change.subject {
                Subject::Instance => &instances,
                Subject::Stage => &stages,
            };
            !of.contains(&change.id)
        });
        (instances.len() + stages.len()) as u64
    }

    pub(super) fn note_stage(&mut self, row: &Stage, now_ms: i64) {
        let reason = Change::reason_of_stage(row);
        self.note(Subject::Stage, row.id.as_str(), &row.pool, row.state.as_str(), now_ms, &reason);
    }

    pub(super) fn note(&mut self, subject: Subject, id: &str, pool: &str, state: &str, at_ms: i64, reason: &str) {
        self.seq += 1;
        let (id, pool) = (id.to_owned(), pool.to_owned());
        let (state, reason) = (state.to_owned(), reason.to_owned());
        self.changes.push(Change { seq: self.seq, at_ms, subject, id, pool, state, reason });
    }
}
