//! Steps that are processes.

use std::time::Duration;

use kiln_pipeline::drone;
use kiln_pipeline::plan::{Dialect, Run, Shell};
use kiln_wire::agent::{OutputType, OutputV2, ProcessConfig, RunConfig, StartStepRequest};

use super::{Prepared, Turn, fits};

/// Works out the request that starts a script.
pub(super) fn prepare(turn: &Turn<'_, '_>, run: &Run) -> Result<Prepared, String> {
    let Turn { stage, step, id, .. } = turn;
    if let Some(container) = &run.container {
        return Err(turn.in_container(container));
    }
    let process = &run.process;
    let mut environment = turn.environment(&process.env)?;
    let mut script = run.script.as_ref().map(|script| turn.text("command", script)).transpose()?.unwrap_or_default();
    if stage.run.plan.dialect == Dialect::Drone
        && let Some(set) = environment.get("PATH").and_then(|path| drone::path::set(path, run.shell))
    {
        // What the instance has there is known only in it.
        environment.remove("PATH");
        script.insert_str(0, &set);
    }
    fits(&environment)?;
    let reports = process.reports.iter().map(|glob| turn.text("reports", glob)).collect::<Result<_, _>>()?;
    let working_dir = match &process.working_dir {
        None => stage.stage.workspace_dir.clone(),
        Some(dir) => within(&stage.stage.workspace_dir, &turn.text("working directory", dir)?),
    };
    let kind = |secret| if secret { OutputType::Secret } else { OutputType::Text };
    let request = StartStepRequest {
        id: format!("{id}-{}", uuid::Uuid::now_v7().simple()),
        name: step.name.clone(),
        detach: step.kind.is_background(),
        timeout: step.timeout.as_ref().map_or(0, |limit| whole_seconds(limit.time)),
        secrets: stage.run.secrets.values(),
        environment,
        working_dir,
        user: process.user.clone().unwrap_or_default(),
        // Without this the agent prints the script before its output.
        log_drone: true,
        run: RunConfig { entrypoint: entrypoint(run.shell), commands: vec![script] },
        outputs: process
            .outputs
            .iter()
            .map(|o| OutputV2 { key: o.name.clone(), value: o.value.clone(), kind: kind(o.secret) })
            .collect(),
        process_config: ProcessConfig { kill_process_on_context_cancel: true, ..ProcessConfig::default() },
        ..StartStepRequest::default()
    };
    Ok(Prepared { request, reports })
}

/// Returns the program that reads a script. Sh and Bash stop at the first command that fails, as they do in the dialects' own runners.
fn entrypoint(shell: Shell) -> Vec<String> {
    let words: &[&str] = match shell {
        Shell::Sh => &["sh", "-e", "-c"],
        Shell::Bash => &["bash", "-e", "-c"],
        Shell::Python => &["python3", "-u", "-c"],
        Shell::Pwsh => &["pwsh", "-NoProfile", "-NonInteractive", "-Command"],
        Shell::Powershell => &["powershell", "-NoProfile", "-NonInteractive", "-Command"],
    };
    words.iter().map(ToString::to_string).collect()
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
