//! Claims for stages that wait, many in one transaction: a pass that serves twenty stages at once costs one commit.
//!
//! All instances are taken before the first stage is changed, see [`crate::claim`].

use std::sync::Arc;

use kiln_pool::{Instance, Stage, StageState};
use tokio::sync::{mpsc, oneshot};

use crate::claim::{HAS_ONE, assign, take};
use crate::database::{Database, values};
use crate::fault::Fault;
use crate::writes::Room;

/// Claims in one transaction, so that others need not wait long for it.
const TOGETHER: usize = 32;

/// The stage and its instance; none when there is no instance for it, or it does not wait any more.
type Claimed = Option<(Stage, Instance)>;

/// One that somebody waits for.
#[derive(Debug)]
struct Asked {
    stage: Box<Stage>,
    now_ms: i64,
    answer: oneshot::Sender<Result<Claimed, Fault>>,
}

/// Where claims are handed in.
#[derive(Debug)]
pub(crate) struct Claims {
    queue: mpsc::UnboundedSender<Asked>,
}

impl Claims {
    /// Begins to write, until this is dropped.
    pub(crate) fn begin(database: Arc<Database>) -> Self {
        let (queue, mut asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while asked.recv_many(&mut batch, TOGETHER).await > 0 {
                answer(&database, std::mem::take(&mut batch)).await;
            }
        });
        Self { queue }
    }

    /// Claims an instance for a stage. It is done even if the caller goes away.
    pub(crate) async fn make(&self, stage: &Stage, now_ms: i64) -> Result<Claimed, Fault> {
        let (answer, written) = oneshot::channel();
        // Without an answer the runtime is ending, and nobody knows.
        let ended = || Fault::Commit(sqlx::Error::WorkerCrashed);
        self.queue.send(Asked { stage: Box::new(stage.clone()), now_ms, answer }).map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }
}

async fn answer(database: &Database, mut batch: Vec<Asked>) {
    // Who came first is served first.
    batch.sort_by(|a, b| (a.stage.created_ms, &a.stage.id).cmp(&(b.stage.created_ms, &b.stage.id)));
    let all: Vec<&Asked> = batch.iter().collect();
    let mut answers = Vec::new();
    match write(database, &all).await {
        Ok(Some(claimed)) => answers.extend(claimed.into_iter().map(Ok)),
        // One of the stages changed at the same time: the others are not to suffer for it.
        Ok(None) | Err(Fault::Statement(sqlx::Error::Database(_))) if all.len() > 1 => {
            for asked in &all {
                answers.push(alone(write(database, &[asked]).await));
            }
        }
        one @ (Ok(None) | Err(Fault::Statement(sqlx::Error::Database(_)))) => answers.push(alone(one)),
        Err(fault) => answers = fault.for_all(all.len()),
    }
    for (asked, answer) in batch.into_iter().zip(answers) {
        // Who does not wait any more finds it in the rows.
        drop(asked.answer.send(answer));
    }
}

fn alone(written: Result<Option<Vec<Claimed>>, Fault>) -> Result<Claimed, Fault> {
    match written {
        Ok(claimed) => Ok(claimed.and_then(|mut claimed| claimed.pop().flatten())),
        // The same stage was served at the same time.
        Err(fault) if fault.is_conflict() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Claims for all of them in one transaction; none, and nothing was changed, when one of the stages is not as it was.
async fn write(database: &Database, batch: &[&Asked]) -> Result<Option<Vec<Claimed>>, Fault> {
    let mut session = database.write(Room::Free).await?;
    let mut taken = Vec::with_capacity(batch.len());
    for Asked { stage, now_ms, .. } in batch {
        let waits = stage.state == StageState::Waiting;
        let free = waits && session.row(HAS_ONE, &values![stage.id.as_str()]).await?.is_none();
        taken.push(if free { take(&mut session, stage, *now_ms).await? } else { None });
    }
    if taken.iter().all(Option::is_none) {
        session.roll_back().await?;
        return Ok(Some(vec![None; batch.len()]));
    }
    let mut claimed = Vec::with_capacity(batch.len());
    for (Asked { stage, now_ms, .. }, instance) in batch.iter().zip(taken) {
        let Some(instance) = instance else {
            claimed.push(None);
            continue;
        };
        let Some(assigned) = assign(&mut session, stage, &instance, *now_ms).await? else {
            session.roll_back().await?;
            return Ok(None);
        };
        claimed.push(Some((assigned, instance)));
    }
    session.commit().await?;
    Ok(Some(claimed))
}
