//! Changes of single rows: each is a guarded update and an entry of the timeline.

use std::cmp::Ordering;

use kiln_pool::{Instance, Stage, StageState, State};

use crate::changes::{self, Entry};
use crate::database::{Database, Session};
use crate::fault::Fault;
use crate::grouped::Grouped;
use crate::rows::{instance_values, stage_values};
use crate::writes::Room;
use crate::{instances, stages};

/// A row's new state, valid if the row has not changed since it was read.
#[derive(Debug)]
pub(crate) enum Update {
    Instance(Box<Instance>, String),
    Stage(Box<Stage>),
}

impl Update {
    fn place(&self) -> (bool, &str, i64) {
        match self {
            Self::Instance(row, _) => (false, row.id.as_str(), row.generation),
            Self::Stage(row) => (true, row.id.as_str(), row.generation),
        }
    }

    async fn apply(&self, session: &mut Session<'_>) -> Result<bool, Fault> {
        let changed = match self {
            Self::Instance(row, _) => session.execute(instances::UPDATE, &instance_values(row)).await?,
            Self::Stage(row) => session.execute(stages::UPDATE, &stage_values(row)).await?,
        };
        Ok(changed > 0)
    }

    fn entry(&self) -> Entry<'_> {
        match self {
            Self::Instance(row, reason) => Entry::instance(row, reason.as_str()),
            Self::Stage(row) => Entry::stage(row),
        }
    }
}

impl Grouped for Update {
    /// Whether the row was changed.
    type Done = bool;

    /// Orders changes within a transaction: instances before stages, each by id. All processes keep this order, so that
    /// no two transactions wait for each other.
    fn order(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }

    fn ends(&self) -> bool {
        match self {
            Self::Instance(row, _) => matches!(row.state, State::Terminating | State::Gone),
            Self::Stage(row) => row.state == StageState::Ended,
        }
    }

    async fn write(database: &Database, all: &[&Self], room: Room) -> Result<Vec<bool>, Fault> {
        let mut session = database.write(room).await?;
        let mut changed = Vec::with_capacity(all.len());
        for update in all {
            changed.push(update.apply(&mut session).await?);
        }
        let made = all.iter().zip(&changed).filter(|(_, changed)| **changed);
        let entries: Vec<Entry<'_>> = made.map(|(update, _)| update.entry()).collect();
        if entries.is_empty() {
            session.roll_back().await?;
        } else {
            changes::write(&mut session, &entries).await?;
            session.commit().await?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{SqlStore, open};
    use futures::future::join_all;
    use kiln_engine::conformance::{UNLIMITED, ready};
    use kiln_engine::world::Store as _;

    fn instance(n: usize) -> Instance {
        ready(&format!("i{n}"), 1)
    }

    async fn with_rows(count: usize) -> Arc<SqlStore> {
        let store = open("sqlite::memory:").await.unwrap().store;
        for n in 0..count {
            assert!(store.insert_instances(&[instance(n)], UNLIMITED, "").await.unwrap());
        }
        store
    }

    #[tokio::test]
    async fn of_two_for_one_row_the_first_wins_and_each_change_is_told_once() {
        let store = with_rows(100).await;
        let next = |n: usize| Instance { generation: 2, attempts: 7, ..instance(n) };
        let rows: Vec<Instance> = (0..100).chain(0..100).map(next).collect();
        let changed = join_all(rows.iter().map(|row| store.update_instance(row, "twice"))).await;
        let changed: Vec<bool> = changed.into_iter().map(Result::unwrap).collect();
        assert_eq!(changed.iter().filter(|changed| **changed).count(), 100);
        let told = store.changes_after(0, 1000).await.unwrap();
        assert_eq!(told.iter().filter(|change| change.reason == "twice").count(), 100);
        assert!(store.live_instances().await.unwrap().iter().all(|row| row.attempts == 7));
    }

    #[tokio::test]
    async fn one_that_the_database_refuses_does_not_harm_the_others() {
        let store = with_rows(3).await;
        let claimed = |n: usize, stage: &str| Instance {
            generation: 2,
            state: State::Claimed,
            stage: Some(stage.into()),
            ..instance(n)
        };
        // The database refuses a stage with two instances.
        let rows = [claimed(0, "s"), claimed(1, "s"), claimed(2, "other")];
        let changed = join_all(rows.iter().map(|row| store.update_instance(row, ""))).await;
        assert!(matches!(&changed[..], [Ok(true), Err(_), Ok(true)]), "{changed:?}");
    }
}
