//! Claims for waiting stages, grouped: a pass that serves twenty stages at once makes one commit.
//!
//! All instances are taken before the first stage is changed, see [`crate::claim`].

use std::cmp::Ordering;

use kiln_pool::{Instance, Stage, StageState};

use crate::claim::{HAS_ONE, assign, take};
use crate::database::{Database, values};
use crate::fault::Fault;
use crate::grouped::{Grouped, Queue};
use crate::writes::Room;

/// A stage and its instance; none when there is no instance for it, or it no longer waits.
type Claimed = Option<(Stage, Instance)>;

/// A request for an instance for a stage.
#[derive(Debug)]
pub(crate) struct Claim {
    stage: Stage,
    now_ms: i64,
}

impl Queue<Claim> {
    /// Claims an instance for a stage. The claim is made even if the caller goes away.
    pub(crate) async fn claim(&self, stage: &Stage, now_ms: i64) -> Result<Claimed, Fault> {
        match self.make(Claim { stage: stage.clone(), now_ms }).await {
            // The same stage was served at the same time, or changed.
            Err(fault) if fault.is_stale() || fault.is_conflict() => Ok(None),
            claimed => claimed,
        }
    }
}

impl Grouped for Claim {
    type Done = Claimed;

    /// Orders claims by the age of their stages: the oldest is served first.
    fn order(&self, other: &Self) -> Ordering {
        (self.stage.created_ms, &self.stage.id).cmp(&(other.stage.created_ms, &other.stage.id))
    }

    fn ends(&self) -> bool {
        false
    }

    /// Makes all claims in one transaction. Fails as stale, with nothing changed, when one of the stages has changed
    /// meanwhile.
    async fn write(database: &Database, all: &[&Self], room: Room) -> Result<Vec<Claimed>, Fault> {
        let mut session = database.write(room).await?;
        let mut taken = Vec::with_capacity(all.len());
        for Self { stage, now_ms } in all {
            let waits = stage.state == StageState::Waiting;
            let free = waits && session.row(HAS_ONE, &values![stage.id.as_str()]).await?.is_none();
            taken.push(if free { take(&mut session, stage, *now_ms).await? } else { None });
        }
        if taken.iter().all(Option::is_none) {
            session.roll_back().await?;
            return Ok(vec![None; all.len()]);
        }
        let mut claimed = Vec::with_capacity(all.len());
        for (Self { stage, now_ms }, instance) in all.iter().zip(taken) {
            let Some(instance) = instance else {
                claimed.push(None);
                continue;
            };
            let Some(assigned) = assign(&mut session, stage, &instance, *now_ms).await? else {
                session.roll_back().await?;
                return Err(Fault::Stale);
            };
            claimed.push(Some((assigned, instance)));
        }
        session.commit().await?;
        Ok(claimed)
    }
}
