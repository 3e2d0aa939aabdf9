//! Turns rows into the program's types and back.

use kiln_engine::world::Change;
use kiln_pool::{Cause, Code, Instance, InstanceId, SiteId, Stage, StageId, StageState, State, Subject};
use kiln_wire::reach::Reach;

use crate::database::{Row, Value};
use crate::fault::Fault;

/// The columns of instances, in the order of [`instance_values`] and [`instance`].
macro_rules! instance_columns {
    () => {
        "id, pool, flavor, site, image, digest, state, generation, runner, stage, created_ms, since_ms, ready_ms, \
         claimed_ms, deadline_ms, hold_until_ms, retry_ms, attempts, address, server_name, needs_claim, cause_code, \
         cause_evidence, place, token, batch_index, batch_size"
    };
}
/// The parameters of these columns.
macro_rules! instance_parameters {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
         $24, $25, $26, $27"
    };
}
/// The columns of stages, in the order of [`stage_values`] and [`stage`].
macro_rules! stage_columns {
    () => {
        "id, pool, flavor, candidates, account, state, generation, instance, created_ms, wait_until_ms, run_ms, \
         assigned_ms, set_up, attempts, why, cause_code, cause_evidence, ended_ms"
    };
}
/// Their parameters.
macro_rules! stage_parameters {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18"
    };
}
pub(crate) use {instance_columns, instance_parameters, stage_columns, stage_parameters};

/// Returns the values of an instance, in the order of its columns.
pub(crate) fn instance_values(row: &Instance) -> [Value<'_>; 27] {
    crate::database::values![
        row.id.as_str(),
        row.pool.as_str(),
        row.flavor.as_str(),
        row.site.as_str(),
        row.image.as_str(),
        row.digest.as_str(),
        row.state.as_str(),
        row.generation,
        row.runner.as_str(),
        row.stage.as_ref().map(StageId::as_str),
        row.created_ms,
        row.since_ms,
        row.ready_ms,
        row.claimed_ms,
        row.deadline_ms,
        row.hold_until_ms,
        row.retry_ms,
        row.attempts,
        row.address.as_ref().map(Reach::to_string),
        row.server_name.as_deref(),
        i64::from(row.needs_claim),
        row.cause.as_ref().map(|cause| cause.code.as_str()),
        row.cause.as_ref().map(|cause| cause.evidence.as_str()),
        row.place.as_str(),
        row.token.as_str(),
        i64::from(row.batch_index),
        i64::from(row.batch_size),
    ]
}

/// Reads an instance.
pub(crate) fn instance(row: &Row) -> Result<Instance, Fault> {
    let id = row.text(0)?;
    let word = row.text(6)?;
    let state = State::from_word(&word).ok_or_else(|| unknown("instance", &id, "state", word))?;
    let cause = cause(row, 21, "instance", &id)?;
    let address = match row.opt_text(18)? {
        Some(text) => Some(text.parse::<Reach>().map_err(|_| unknown("instance", &id, "address", text))?),
        None => None,
    };
    Ok(Instance {
        id: InstanceId::new(id),
        pool: row.text(1)?,
        flavor: row.text(2)?,
        site: SiteId::new(row.text(3)?),
        image: row.text(4)?,
        digest: row.text(5)?,
        state,
        generation: row.int(7)?,
        runner: row.text(8)?,
        stage: row.opt_text(9)?.map(StageId::new),
        created_ms: row.int(10)?,
        since_ms: row.int(11)?,
        ready_ms: row.opt_int(12)?,
        claimed_ms: row.opt_int(13)?,
        deadline_ms: row.opt_int(14)?,
        hold_until_ms: row.opt_int(15)?,
        retry_ms: row.opt_int(16)?,
        attempts: row.int(17)?,
        address,
        server_name: row.opt_text(19)?,
        needs_claim: row.int(20)? != 0,
        cause,
        place: row.text(23)?,
        token: row.text(24)?,
        batch_index: row.small(25)?,
        batch_size: row.small(26)?,
    })
}

/// Returns the flavor in whose queue a stage waits.
pub(crate) fn queue(stage: &Stage) -> &str {
    stage.candidates.first().map_or("", |candidate| candidate.flavor.as_str())
}

/// Returns the values of a stage, in the order of its columns.
pub(crate) fn stage_values(row: &Stage) -> [Value<'_>; 18] {
    // A list of texts always serializes.
    let candidates = serde_json::to_string(&row.candidates).unwrap_or_default();
    let why = row.why.as_ref().map(|why| serde_json::to_string(why).unwrap_or_default()).unwrap_or_default();
    crate::database::values![
        row.id.as_str(),
        row.pool.as_str(),
        queue(row),
        candidates,
        row.account.as_str(),
        row.state.as_str(),
        row.generation,
        row.instance.as_ref().map(InstanceId::as_str),
        row.created_ms,
        row.wait_until_ms,
        row.run_ms,
        row.assigned_ms,
        i64::from(row.set_up),
        row.attempts,
        why,
        row.cause.as_ref().map(|cause| cause.code.as_str()),
        row.cause.as_ref().map(|cause| cause.evidence.as_str()),
        row.ended_ms,
    ]
}

/// Reads a stage.
pub(crate) fn stage(row: &Row) -> Result<Stage, Fault> {
    let id = row.text(0)?;
    let candidates = row.text(3)?;
    let candidates =
        serde_json::from_str(&candidates).map_err(|_| unknown("stage", &id, "list of candidates", candidates))?;
    let word = row.text(5)?;
    let state = StageState::from_word(&word).ok_or_else(|| unknown("stage", &id, "state", word))?;
    let cause = cause(row, 15, "stage", &id)?;
    let why = match row.text(14)? {
        text if text.is_empty() => None,
        text => Some(serde_json::from_str(&text).map_err(|_| unknown("stage", &id, "reason to wait", text))?),
    };
    Ok(Stage {
        id: StageId::new(id),
        pool: row.text(1)?,
        candidates,
        account: row.text(4)?,
        state,
        generation: row.int(6)?,
        instance: row.opt_text(7)?.map(InstanceId::new),
        created_ms: row.int(8)?,
        wait_until_ms: row.int(9)?,
        run_ms: row.int(10)?,
        assigned_ms: row.opt_int(11)?,
        set_up: row.int(12)? != 0,
        attempts: row.int(13)?,
        why,
        cause,
        ended_ms: row.opt_int(17)?,
    })
}

/// Reads a change.
pub(crate) fn change(row: &Row) -> Result<Change, Fault> {
    let (id, word) = (row.text(3)?, row.text(2)?);
    let subject = Subject::from_word(&word).ok_or_else(|| unknown("change", &id, "subject", word))?;
    Ok(Change {
        seq: row.int(0)?,
        at_ms: row.int(1)?,
        subject,
        id,
        pool: row.text(4)?,
        state: row.text(5)?,
        reason: row.text(6)?,
    })
}

fn cause(row: &Row, column: usize, table: &'static str, id: &str) -> Result<Option<Cause>, Fault> {
    let Some(word) = row.opt_text(column)? else { return Ok(None) };
    let code = Code::from_word(&word).ok_or_else(|| unknown(table, id, "cause", word))?;
    Ok(Some(Cause { code, evidence: row.opt_text(column + 1)?.unwrap_or_default() }))
}

fn unknown(table: &'static str, id: &str, column: &'static str, found: String) -> Fault {
    Fault::Row { table, id: id.to_owned(), column, found }
}
