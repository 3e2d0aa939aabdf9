//! Makes the request with which the agent runs a step.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_pipeline::drone;
use kiln_pipeline::environment;
use kiln_pipeline::expr::{Scope, Template};
use kiln_pipeline::plan::{Dialect, Shell, Step};
use kiln_wire::agent::{OutputType, OutputV2, ProcessConfig, RunConfig, StartStepRequest};

use crate::fleet::error_chain;
use crate::nest::Nest;
use crate::stage_context::StageContext;

/// Makes the agent set variables whose value is empty.
const KEEP_EMPTY: &str = "CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS";

/// A step in which every expression has its value.
pub struct Prepared {
    /// The request to the agent.
    pub request: StartStepRequest,
    /// Globs of its reports, relative to its working directory.
    pub reports: Vec<String>,
}

/// Works out every value of a step.
///
/// # Errors
/// In one line for people: an expression has no value, or the step cannot be run.
pub(crate) fn prepare(
    stage: &StageContext<'_>,
    step: &Step,
    id: &str,
    nest: &Nest<'_>,
    scope: &Scope,
) -> Result<Prepared, String> {
    let run = &step.run;
    let text = |what: &str, template: &Template| render(what, template, scope, step.location.line);
    if let Some(container) = &run.container {
        let image = text("image", &container.image)?;
        return Err(format!("line {}: steps in containers ({image}) cannot be run yet", container.location.line));
    }
    let mut environment = stage.facts(nest.runs.last().map(|run| &run.iteration));
    for variable in stage.stage.env.iter().chain(&run.env) {
        environment.insert(variable.name.clone(), text(&variable.name, &variable.value)?);
    }
    environment.extend(stage.run.options.env.iter().cloned());
    // Without this the agent leaves out variables whose value is empty.
    environment.insert(KEEP_EMPTY.into(), "true".into());
    let mut script = text("command", &run.script)?;
    if stage.run.plan.dialect == Dialect::Drone
        && let Some(set) = environment.get("PATH").and_then(|path| drone::path::set(path, run.shell))
    {
        // What the instance has there is known only in it.
        environment.remove("PATH");
        script.insert_str(0, &set);
    }
    fits(&environment)?;
    let reports = run.reports.iter().map(|glob| text("reports", glob)).collect::<Result<_, _>>()?;
    let working_dir = match &run.working_dir {
        None => stage.stage.workspace_dir.clone(),
        Some(dir) => within(&stage.stage.workspace_dir, &text("working directory", dir)?),
    };
    let kind = |secret| if secret { OutputType::Secret } else { OutputType::Text };
    let request = StartStepRequest {
        id: format!("{id}-{}", uuid::Uuid::now_v7().simple()),
        name: step.name.clone(),
        detach: run.background,
        timeout: step.timeout.as_ref().map_or(0, |limit| whole_seconds(limit.time)),
        secrets: stage.run.secrets.values(),
        environment,
        working_dir,
        user: run.user.clone().unwrap_or_default(),
        // Without this the agent prints the script before its output.
        log_drone: true,
        run: RunConfig { entrypoint: entrypoint(run.shell), commands: vec![script] },
        outputs: run
            .outputs
            .iter()
            .map(|o| OutputV2 { key: o.name.clone(), value: o.value.clone(), kind: kind(o.secret) })
            .collect(),
        process_config: ProcessConfig { kill_process_on_context_cancel: true, ..ProcessConfig::default() },
        ..StartStepRequest::default()
    };
    Ok(Prepared { request, reports })
}

/// Refuses an environment that no program can be started with.
pub fn fits(environment: &BTreeMap<String, String>) -> Result<(), String> {
    environment::fits(environment.iter().map(|(name, value)| (name.as_str(), value.len())))
        .map_err(|problem| format!("{problem}: {}", environment::WAY_OUT))
}

fn render(what: &str, template: &Template, scope: &Scope, line: u32) -> Result<String, String> {
    template.render(scope).map_err(|e| format!("line {line}: `{what}` has no value: {}", error_chain(&e)))
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

fn within(base: &str, dir: &str) -> String {
    if dir.starts_with('/') { dir.to_owned() } else { format!("{}/{dir}", base.trim_end_matches('/')) }
}
