//! `kiln instance`: single VMs of a runner.

mod view;

use kiln_runner_client::{Answer, Runner, RunnerError, route};
use kiln_wire::agent::Empty;
use kiln_wire::runner::kiln::{self as wire, HoldRequest, Instance, InstanceDetail, InstanceList, StageDetail};

use crate::ages::now_ms;
use crate::args::Format;
use crate::args::operator::{Asking, InstanceCommand};
use crate::exit::{Exit, Usage};
use crate::short_ids::{self, ShortIds};
use crate::table::terminal_width;
use crate::{print, runner_access, unreadable};

/// Includes instances that are gone.
const ALL: (&str, &str) = ("all", "true");

/// Carries out one of the commands.
pub async fn instance(command: InstanceCommand) -> anyhow::Result<Exit> {
    let done = match command {
        InstanceCommand::List { pool, state, all, asking } => list(&asking, pool, state, all).await,
        InstanceCommand::Show { id, asking } => show(&asking, &id).await,
        InstanceCommand::Hold { id, how_long, asking } => hold(&asking, &id, how_long).await,
        InstanceCommand::Release { id, asking } => release(&asking, &id).await,
        InstanceCommand::Destroy { ids, asking } => destroy(&asking, &ids).await,
    };
    done.map_err(runner_access::report)?;
    Ok(Exit::Ok)
}

async fn list(asking: &Asking, pool: Option<String>, state: Option<String>, all: bool) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    // Instances that are gone are only in the full list.
    let every: &[(&str, &str)] = if all || state.as_deref() == Some("gone") { &[ALL] } else { &[] };
    let mut query = every.to_vec();
    query.extend(pool.as_deref().map(|pool| ("pool", pool)));
    query.extend(state.as_deref().map(|state| ("state", state)));
    let answer = runner.get::<InstanceList>(wire::INSTANCES, &query).await?;
    if asking.format == Format::Json {
        print::line(answer.text);
        return Ok(());
    }
    let InstanceList { instances, unreadable } = answer.message;
    unreadable::tell(asking.format, &unreadable);
    if instances.is_empty() {
        print::line("no instances");
        return Ok(());
    }
    let width = terminal_width();
    let short = match width {
        // Output to a file or another program has full ids.
        None => ShortIds::default(),
        Some(_) if query.len() == every.len() => ShortIds::of(instances.iter().map(|i| i.id.as_str())),
        // Shortened ids must also differ from those of instances that are not shown.
        Some(_) => {
            let others = runner.get::<InstanceList>(wire::INSTANCES, every).await?.message.instances;
            ShortIds::of(others.iter().chain(&instances).map(|i| i.id.as_str()))
        }
    };
    print::text(view::table(&instances, &short, now_ms()).text(width));
    Ok(())
}

async fn show(asking: &Asking, id: &str) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    let id = resolve(&runner, id).await?.id;
    let answer = runner.get::<InstanceDetail>(&route(wire::INSTANCE, "{id}", &id), &[]).await?;
    if asking.format == Format::Json {
        print::line(answer.text);
        return Ok(());
    }
    let stage = match answer.message.instance.stage.as_str() {
        "" => None,
        stage => runner.find::<StageDetail>(&route(wire::STAGE, "{id}", stage)).await?,
    };
    print::text(view::detail(&answer.message, stage.map(|stage| stage.message.stage).as_ref(), now_ms()));
    Ok(())
}

async fn hold(asking: &Asking, id: &str, how_long: std::time::Duration) -> Result<(), RunnerError> {
    let seconds = i64::try_from(how_long.as_secs()).unwrap_or(i64::MAX);
    let runner = runner_access::asked(asking)?;
    let path = route(wire::INSTANCE_HOLD, "{id}", &resolve(&runner, id).await?.id);
    let answer = runner.post::<Instance>(&path, &HoldRequest { seconds }).await?;
    tell(asking, &answer, view::held(&answer.message, now_ms()));
    Ok(())
}

async fn release(asking: &Asking, id: &str) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    let path = route(wire::INSTANCE_RELEASE, "{id}", &resolve(&runner, id).await?.id);
    let answer = runner.post::<Instance>(&path, &Empty::default()).await?;
    tell(asking, &answer, view::released(&answer.message));
    Ok(())
}

async fn destroy(asking: &Asking, ids: &[String]) -> Result<(), RunnerError> {
    let runner = runner_access::asked(asking)?;
    // All of them are found before the first one is destroyed.
    let mut found = Vec::new();
    for id in ids {
        found.push(resolve(&runner, id).await?);
    }
    for before in found {
        let answer = runner.delete::<Instance>(&route(wire::INSTANCE, "{id}", &before.id)).await?;
        tell(asking, &answer, view::destroyed(&before, &answer.message));
    }
    Ok(())
}

fn tell(asking: &Asking, answer: &Answer<Instance>, text: String) {
    match asking.format {
        Format::Json => print::line(&answer.text),
        Format::Text => print::line(text),
    }
}

/// Returns the instance with that id, or the only one whose id begins so. Instances that are gone count only when no
/// other one matches.
async fn resolve(runner: &Runner, wanted: &str) -> Result<Instance, RunnerError> {
    for query in [&[][..], &[ALL]] {
        let instances = runner.get::<InstanceList>(wire::INSTANCES, query).await?.message.instances;
        if let Some(found) = short_ids::find(wanted, "instance", &instances, |i| &i.id)? {
            return Ok(found.clone());
        }
    }
    // Lists are limited, and a full id does not need them.
    match runner.find::<InstanceDetail>(&route(wire::INSTANCE, "{id}", wanted)).await? {
        Some(found) => Ok(found.message.instance),
        None => Err(Usage(format!("there is no instance `{wanted}`; see `kiln instance list --all`")).into()),
    }
}
