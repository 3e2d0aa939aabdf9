//! The claim: one guarded update, whose cost does not grow with the number of rows.
//!
//! Instances are always taken before stages are changed, so that no two claims wait for each other. On PostgreSQL a
//! claim that meets another one at the same row waits for its end, finds the row taken, and goes on to one of the next.

use kiln_engine::world::Change;
use kiln_pool::{Candidate, Instance, Stage, StageState};

use crate::changes::{self, Entry};
use crate::database::{Session, values};
use crate::fault::Fault;
use crate::rows::{self, instance_columns};

/// Takes the oldest ready instance of a kind, or one a number of places behind it. The state is checked again in the
/// outer statement, because after waiting for a row PostgreSQL evaluates only that part anew.
pub(crate) const TAKE: &str = concat!(
    "UPDATE instances SET state = 'claimed', stage = $1, claimed_ms = $2, since_ms = $2, deadline_ms = $3, \
     generation = generation + 1, attempts = 0, retry_ms = NULL \
     WHERE id = (SELECT id FROM instances WHERE state = 'ready' AND flavor = $4 AND image = $5 \
     AND (hold_until_ms IS NULL OR hold_until_ms <= $2) ORDER BY created_ms, id LIMIT 1 OFFSET $6) \
     AND state = 'ready' AND (hold_until_ms IS NULL OR hold_until_ms <= $2) RETURNING ",
    instance_columns!()
);
/// Finds a ready instance of a kind.
pub(crate) const ANY: &str = "SELECT id FROM instances WHERE state = 'ready' AND flavor = $1 AND image = $2 \
                              AND (hold_until_ms IS NULL OR hold_until_ms <= $3) LIMIT 1";
/// Finds an instance that the stage still has. That happens for a moment after a failed set-up.
pub(crate) const HAS_ONE: &str = "SELECT id FROM instances WHERE state = 'claimed' AND stage = $1 LIMIT 1";
pub(crate) const ASSIGN: &str = "UPDATE stages SET state = 'assigned', instance = $1, assigned_ms = $2, \
                                 generation = generation + 1 WHERE id = $3 AND generation = $4 AND state = 'waiting'";

/// Most times that a claim may lose to others before it leaves the stage waiting.
const TRIES: i64 = 32;
/// Number of places over which claims that lost are spread.
const SPREAD: u64 = 16;

/// Takes an instance for the stage.
pub(crate) async fn take(session: &mut Session<'_>, stage: &Stage, now_ms: i64) -> Result<Option<Instance>, Fault> {
    for candidate in &stage.candidates {
        for lost in 0..TRIES {
            if let Some(instance) = take_one(session, stage, candidate, now_ms, lost).await? {
                return Ok(Some(instance));
            }
            let any = values![candidate.flavor.as_str(), candidate.image.as_str(), now_ms];
            if session.row(ANY, &any).await?.is_none() {
                break;
            }
        }
    }
    Ok(None)
}

async fn take_one(
    session: &mut Session<'_>,
    stage: &Stage,
    candidate: &Candidate,
    now_ms: i64,
    lost: i64,
) -> Result<Option<Instance>, Fault> {
    // A claim that lost would meet the same rivals at the next instance, so it tries one some places behind.
    let spread = u64::try_from(lost).unwrap_or(0).min(SPREAD) + 1;
    let place = i64::try_from(uuid::Uuid::new_v4().as_u64_pair().1 % spread).unwrap_or(0);
    let values = values![
        stage.id.as_str(),
        now_ms,
        now_ms + stage.run_ms,
        candidate.flavor.as_str(),
        candidate.image.as_str(),
        if lost == 0 { 0 } else { place },
    ];
    session.row(TAKE, &values).await?.as_ref().map(rows::instance).transpose()
}

/// Gives the taken instance to the stage and returns the stage, or none when the stage has changed.
pub(crate) async fn assign(
    session: &mut Session<'_>,
    stage: &Stage,
    instance: &Instance,
    now_ms: i64,
) -> Result<Option<Stage>, Fault> {
    let values = values![instance.id.as_str(), now_ms, stage.id.as_str(), stage.generation];
    if stage.state != StageState::Waiting || session.execute(ASSIGN, &values).await? == 0 {
        return Ok(None);
    }
    let mut assigned = stage.clone();
    (assigned.state, assigned.generation) = (StageState::Assigned, stage.generation + 1);
    (assigned.instance, assigned.assigned_ms) = (Some(instance.id.clone()), Some(now_ms));
    let taken = Entry::instance(instance, Change::reason_of_claim(&stage.id));
    changes::write(session, &[taken, Entry::stage(&assigned)]).await?;
    Ok(Some(assigned))
}
