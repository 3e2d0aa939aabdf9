//! `kiln stage`: the running and waiting stages of a runner.

mod view;

use kiln_runner_client::{Runner, RunnerError, route};
use kiln_wire::runner::kiln::{self as wire, CancelStageRequest, Stage, StageDetail, StageList};

use crate::ages::now_ms;
use crate::args::Format;
use crate::args::operator::{Asking, StageCommand};
use crate::exit::{Exit, Usage};
use crate::short_ids;
use crate::table::terminal_width;
use crate::{print, runner_access, unreadable};

/// Includes ended stages.
const ALL: (&str, &str) = ("all", "true");

/// Carries out one of the commands.
pub async fn stage(command: StageCommand) -> anyhow::Result<Exit> {
    let done = match command {
        StageCommand::List { all, asking } => list(&asking, all).await,
        StageCommand::Show { id, asking } => show(&asking, &id).await,
        StageCommand::Cancel { ids, reason, asking } => cancel(&asking, &ids, reason.unwrap_or_default()).await,
    };
    done.map_err(runner_access::report)?;
    Ok(Exit::Ok)
}

async fn list(asking: &Asking, all: bool) -> Result<(), RunnerError> {
    let query: &[(&str, &str)] = if all { &[ALL] } else { &[] };
    let answer = runner_access::asked(asking)?.get::<StageList>(wire::STAGES, query).await?;
    match asking.format {
        Format::Json => print::line(answer.text),
        Format::Text if answer.message.stages.is_empty() => print::line("no stages"),
        Format::Text => print::text(view::table(&answer.message.stages, now_ms()).text(terminal_width())),
    }
    unreadable::tell(asking.format, &answer.message.unreadable);
    Ok(())
}

async fn show(asking: &Asking, id: &str) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    let id = resolve(&runner, id).await?.id;
    let answer = runner.get::<StageDetail>(&route(wire::STAGE, "{id}", &id), &[]).await?;
    match asking.format {
        Format::Json => print::line(answer.text),
        Format::Text => print::text(view::detail(&answer.message, now_ms())),
    }
    Ok(())
}

async fn cancel(asking: &Asking, ids: &[String], reason: String) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    // All of them are found before the first one is ended.
    let mut found = Vec::new();
    for id in ids {
        found.push(resolve(&runner, id).await?);
    }
    let request = CancelStageRequest { reason };
    for before in found {
        let path = route(wire::STAGE_CANCEL, "{id}", &before.id);
        let answer = runner.post::<Stage>(&path, &request).await?;
        match asking.format {
            Format::Json => print::line(answer.text),
            Format::Text => print::line(view::cancelled(&before, &answer.message)),
        }
    }
    Ok(())
}

/// Returns the stage with that id, or the only one whose id begins so. Ended stages count only when no other one
/// matches.
async fn resolve(runner: &Runner, wanted: &str) -> Result<Stage, RunnerError> {
    for query in [&[][..], &[ALL]] {
        let stages = runner.get::<StageList>(wire::STAGES, query).await?.message.stages;
        if let Some(found) = short_ids::find(wanted, "stage", &stages, |stage| &stage.id)? {
            return Ok(found.clone());
        }
    }
    // Lists are limited, and a full id does not need them.
    match runner.find::<StageDetail>(&route(wire::STAGE, "{id}", wanted)).await? {
        Some(found) => Ok(found.message.stage),
        None => Err(Usage(format!("there is no stage `{wanted}`; see `kiln stage list --all`")).into()),
    }
}
