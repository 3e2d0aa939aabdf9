//! Statements about stages.

use kiln_pool::{Instance, InstanceId, Stage, StageState, Subject};

use crate::SqlStore;
use crate::changes::{self, Entry};
use crate::claim::{assign, take};
use crate::database::{Session, values};
use crate::fault::Fault;
use crate::instances;
use crate::rows::{self, queue, stage_columns, stage_parameters, stage_values};
use crate::unreadable::readable;
use crate::writes::Room;

pub(crate) const OPEN: &str =
    concat!("SELECT ", stage_columns!(), " FROM stages WHERE state <> 'ended' ORDER BY created_ms, id");
const ONE: &str = concat!("SELECT ", stage_columns!(), " FROM stages WHERE id = $1");
const NEWEST: &str = concat!("SELECT ", stage_columns!(), " FROM stages ORDER BY created_ms DESC, id DESC LIMIT $1");
const INSERT: &str = concat!(
    "INSERT INTO stages (",
    stage_columns!(),
    ") VALUES (",
    stage_parameters!(),
    ") ON CONFLICT (id) DO NOTHING"
);
pub(crate) const UPDATE: &str = concat!(
    "UPDATE stages SET (",
    stage_columns!(),
    ") = (",
    stage_parameters!(),
    ") WHERE id = $1 AND generation = $7 - 1"
);
/// Finds an older stage that waits for the same flavor, or an instance that the stage still has, see [`crate::claim`].
pub(crate) const NOT_YET: &str = "SELECT id FROM stages WHERE state = 'waiting' AND flavor = $1 \
                                  AND (created_ms, id) < ($2, $3) \
                                  UNION ALL SELECT id FROM instances WHERE state = 'claimed' AND stage = $3 LIMIT 1";

/// Most times that a stage is read again while it keeps changing.
const TRIES: u32 = 8;

impl SqlStore {
    pub(crate) async fn read_open_stages(&self) -> Result<Vec<Stage>, Fault> {
        self.unreadable.set_aside(Subject::Stage, &self.database.rows(OPEN, &[]).await?, rows::stage)
    }

    pub(crate) async fn read_newest_stages(&self, limit: u32) -> Result<Vec<Stage>, Fault> {
        Ok(readable(&self.database.rows(NEWEST, &values![i64::from(limit)]).await?, rows::stage))
    }

    pub(crate) async fn read_stage(&self, id: &str) -> Result<Option<Stage>, Fault> {
        self.database.row(ONE, &values![id]).await?.as_ref().map(rows::stage).transpose()
    }

    pub(crate) async fn begin(&self, stage: &Stage, now_ms: i64) -> Result<(Stage, Option<Instance>), Fault> {
        let _turn = self.turn().await;
        for _ in 0..TRIES {
            match self.try_begin(stage, now_ms).await {
                Ok(Some(there)) => return Ok(there),
                // The stage was changed concurrently.
                Ok(None) => {}
                Err(fault) if fault.is_conflict() => {}
                Err(fault) => return Err(fault),
            }
        }
        // A stage that changes so often has probably been served; otherwise the next pass serves it.
        match self.read_stage(stage.id.as_str()).await? {
            Some(there) => {
                let instance = match &there.instance {
                    Some(id) => self.read_instance(id.as_str()).await?,
                    None => None,
                };
                Ok((there, instance))
            }
            None => Err(Fault::Statement(sqlx::Error::RowNotFound)),
        }
    }

    async fn try_begin(&self, stage: &Stage, now_ms: i64) -> Result<Option<(Stage, Option<Instance>)>, Fault> {
        let mut session = self.database.write(Room::Free).await?;
        let fresh = session.execute(INSERT, &stage_values(stage)).await? == 1;
        let there = if fresh {
            stage.clone()
        } else {
            match session.row(ONE, &values![stage.id.as_str()]).await? {
                Some(row) => rows::stage(&row)?,
                // It was pruned meanwhile.
                None => return Ok(None),
            }
        };
        if there.state != StageState::Waiting {
            let instance = match &there.instance {
                Some(id) => instance_in(&mut session, id).await?,
                None => None,
            };
            finish(session, &there, fresh).await?;
            return Ok(Some((there, instance)));
        }
        let not_yet = values![queue(&there), there.created_ms, there.id.as_str()];
        let claimed = match session.row(NOT_YET, &not_yet).await? {
            Some(_) => None,
            None => take(&mut session, &there, now_ms).await?,
        };
        match claimed {
            Some(instance) => {
                let Some(assigned) = assign(&mut session, &there, &instance, now_ms).await? else {
                    session.roll_back().await?;
                    return Ok(None);
                };
                session.commit().await?;
                Ok(Some((assigned, Some(instance))))
            }
            None => {
                finish(session, &there, fresh).await?;
                Ok(Some((there, None)))
            }
        }
    }
}

/// Commits a stage that is new and got no instance; rolls back where there is nothing to write.
async fn finish(mut session: Session<'_>, there: &Stage, fresh: bool) -> Result<(), Fault> {
    if !fresh {
        return session.roll_back().await;
    }
    changes::write(&mut session, &[Entry::stage(there)]).await?;
    session.commit().await
}

async fn instance_in(session: &mut Session<'_>, id: &InstanceId) -> Result<Option<Instance>, Fault> {
    session.row(instances::ONE, &values![id.as_str()]).await?.as_ref().map(rows::instance).transpose()
}
