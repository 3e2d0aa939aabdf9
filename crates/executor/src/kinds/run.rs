//! Steps that are processes: scripts, and the programs of containers.

use std::time::Duration;

use kiln_pipeline::drone;
use kiln_pipeline::plan::{Container, Dialect, Plugin, Process, Run, Shell};
use kiln_wire::agent::{OutputType, OutputV2, ProcessConfig, RunConfig, StartStepRequest};

use super::{Prepared, Turn, fits};

/// Works out the request that starts a script, or the program of a container that has none.
pub(super) fn prepare(turn: &Turn<'_, '_>, run: &Run) -> Result<Prepared, String> {
    let mut request = request(turn, &run.process)?;
    let mut text = run.script.as_ref().map(|script| turn.text("command", script)).transpose()?;
    if turn.stage.run.plan.dialect == Dialect::Drone
        && let Some(text) = &mut text
        && let Some(set) = request.environment.get("PATH").and_then(|path| drone::path::set(path, run.shell))
    {
        // What the instance, or the image, has there is known only in it.
        request.environment.remove("PATH");
        text.insert_str(0, &set);
    }
    request.run = match (text, &run.container) {
        (None, Some(container)) => turn.program(container)?,
        (text, _) => script(run.shell, text.unwrap_or_default()),
    };
    if let Some(container) = &run.container {
        contain(turn, container, &mut request)?;
    }
    prepared(turn, &run.process, request)
}

/// Works out the request that starts a plugin.
pub(super) fn plugin(turn: &Turn<'_, '_>, plugin: &Plugin) -> Result<Prepared, String> {
    let mut request = request(turn, &plugin.process)?;
    request.run = turn.program(&plugin.container)?;
    contain(turn, &plugin.container, &mut request)?;
    prepared(turn, &plugin.process, request)
}

fn contain(turn: &Turn<'_, '_>, container: &Container, request: &mut StartStepRequest) -> Result<(), String> {
    for setting in &container.settings {
        request.environment.insert(setting.name.clone(), turn.text(&setting.name, &setting.value)?);
    }
    turn.contain(container, request)
}

/// Returns the request for a process, without what it runs.
pub(super) fn request(turn: &Turn<'_, '_>, process: &Process) -> Result<StartStepRequest, String> {
    let Turn { stage, step, id, .. } = turn;
    let working_dir = match &process.working_dir {
        None => stage.stage.workspace_dir.clone(),
        Some(dir) => within(&stage.stage.workspace_dir, &turn.text("working directory", dir)?),
    };
    let kind = |secret| if secret { OutputType::Secret } else { OutputType::Text };
    Ok(StartStepRequest {
        id: format!("{id}-{}", uuid::Uuid::now_v7().simple()),
        name: step.name.clone(),
        detach: step.kind.is_background(),
        timeout: step.timeout.as_ref().map_or(0, |limit| whole_seconds(limit.time)),
        secrets: stage.run.secrets.values(),
        environment: turn.environment(&process.env)?,
        working_dir,
        user: process.user.clone().unwrap_or_default(),
        // Without this the agent prints the script before its output.
        log_drone: true,
        outputs: process
            .outputs
            .iter()
            .map(|o| OutputV2 { key: o.name.clone(), value: o.value.clone(), kind: kind(o.secret) })
            .collect(),
        process_config: ProcessConfig { kill_process_on_context_cancel: true, ..ProcessConfig::default() },
        ..StartStepRequest::default()
    })
}

/// Returns a request that is complete, with the reports of its process.
pub(super) fn prepared(turn: &Turn<'_, '_>, process: &Process, request: StartStepRequest) -> Result<Prepared, String> {
    fits(&request.environment)?;
    let reports = process.reports.iter().map(|glob| turn.text("reports", glob)).collect::<Result<_, _>>()?;
    Ok(Prepared { request, reports })
}

/// Returns what runs a script. Sh and Bash stop at the first command that fails, as they do in the dialects' own runners.
pub(super) fn script(shell: Shell, script: String) -> RunConfig {
    let words: &[&str] = match shell {
        Shell::Sh => &["sh", "-e", "-c"],
        Shell::Bash => &["bash", "-e", "-c"],
        Shell::Python => &["python3", "-u", "-c"],
        Shell::Pwsh => &["pwsh", "-NoProfile", "-NonInteractive", "-Command"],
        Shell::Powershell => &["powershell", "-NoProfile", "-NonInteractive", "-Command"],
    };
    RunConfig { entrypoint: words.iter().map(ToString::to_string).collect(), commands: vec![script] }
}

/// Returns a time in the agent's whole seconds, rounded up. 0 would mean for ever.
fn whole_seconds(limit: Duration) -> i64 {
    let up = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    i64::try_from(up.max(1)).unwrap_or(i64::MAX)
}

/// Returns a directory, which may be relative to another.
pub(super) fn within(base: &str, dir: &str) -> String {
    if dir.starts_with('/') { dir.to_owned() } else { format!("{}/{dir}", base.trim_end_matches('/')) }
}
