//! Reads what `Run`, `Background` and `Plugin` steps do, and what all steps that are processes have in common.

use std::collections::HashSet;

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::{container, kinds, settings};
use crate::expr::Template;
use crate::plan::{Container, OutputVar, Plugin, Process, Run, Shell, StepKind};

/// Reads the `spec` of a step of that type.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    let spec = spec(reader, step, kind)?;
    let container = container::read(reader, spec);
    Some(match (kind, container) {
        ("Plugin", Some(mut container)) => {
            container.settings = settings::read(reader, spec);
            container::as_plugin(reader, spec, &mut container);
            StepKind::Plugin(Plugin { container, process: process(reader, spec) })
        }
        ("Plugin", None) => {
            plugin_without_image(reader, spec);
            process(reader, spec);
            return None;
        }
        ("Background", container) => StepKind::Background(run(reader, step, spec, container, true)),
        (_, container) => StepKind::Run(run(reader, step, spec, container, false)),
    })
}

/// Returns the checked `spec` of a step.
fn spec<'n>(reader: &mut Reader<'_>, step: &'n Node, kind: &str) -> Option<&'n Node> {
    let Some(spec) = step.get("spec") else {
        reader.missing(step, &["spec"], name_place(step), "the step has no `spec`", "`spec` says what it runs");
        return None;
    };
    reader.check(spec, kinds::table(kind)).then_some(spec)
}

fn run(reader: &mut Reader<'_>, step: &Node, spec: &Node, container: Option<Container>, background: bool) -> Run {
    if container.is_none() {
        container::on_host(reader, spec);
    }
    let has_command = spec.get("command").and_then(Node::text).is_some_and(|text| !text.trim().is_empty());
    if !has_command && !background {
        reader.missing(spec, &["command"], name_place(step), "the `Run` step has no `command`", "");
    }
    if !has_command && background && container.is_none() {
        let help = "a step on the host needs a `command`, one in a container needs an `image`";
        reader.missing(spec, &["command", "image"], name_place(step), "the `Background` step has no `command`", help);
    }
    let mut script = reader.template_at(spec, "command").filter(|_| has_command || container.is_none());
    let mut container = container;
    match &mut container {
        None => drop(script.get_or_insert_with(|| Template::literal(""))),
        // The command is what the entry point is started with.
        Some(container) if !container.entrypoint.is_empty() => container.args.extend(script.take()),
        Some(_) => {}
    }
    Run { shell: shell(reader, spec), script, container, process: process(reader, spec) }
}

pub(super) fn process(reader: &mut Reader<'_>, spec: &Node) -> Process {
    let in_container = spec.get("image").is_some();
    let reports = spec.get("reports").and_then(|reports| reports.get("spec"));
    Process {
        env: reader.env(spec, "envVariables"),
        outputs: outputs(reader, spec),
        reports: reports.map_or_else(Vec::new, |spec| reader.texts(spec, "paths")),
        working_dir: None,
        user: reader.user(spec, "runAsUser").or_else(|| in_container.then(|| reader.defaults.user.clone()).flatten()),
    }
}

pub(super) fn shell(reader: &mut Reader<'_>, spec: &Node) -> Shell {
    match reader.fixed(spec, "shell") {
        Some("Bash") => Shell::Bash,
        Some("Powershell") => Shell::Powershell,
        Some("Pwsh") => Shell::Pwsh,
        Some("Python") => Shell::Python,
        _ => Shell::Sh,
    }
}

fn outputs(reader: &mut Reader<'_>, spec: &Node) -> Vec<OutputVar> {
    let (mut read, mut seen) = (Vec::new(), HashSet::new());
    for item in spec.get("outputVariables").and_then(Node::items).unwrap_or_default() {
        let Some(name) = reader.fixed(item, "name").map(str::to_owned) else {
            if item.get("name").is_none() {
                reader.missing(item, &["name"], &item.location, "the output variable has no `name`", "");
            }
            continue;
        };
        if !seen.insert(name.clone()) {
            let place = item.get("name").map_or(&item.location, |name| &name.location);
            reader.push(Diagnostic::invalid(
                "duplicate-name",
                place,
                format!("the output variable `{name}` is declared twice"),
            ));
            continue;
        }
        let value = reader.fixed(item, "value").unwrap_or(&name).to_owned();
        let secret = item.get("type").and_then(Node::text) == Some("Secret");
        read.push(OutputVar { name, value, secret });
    }
    read
}

fn plugin_without_image(reader: &mut Reader<'_>, spec: &Node) {
    match spec.get("uses") {
        Some(uses) => {
            let message = format!("plugins are not run yet: `{}`", uses.text().unwrap_or_default());
            reader.push(Diagnostic::unsupported("plugin-step", &uses.location, message));
        }
        None => {
            let message = "the `Plugin` step has neither `image` nor `uses`";
            reader.missing(spec, &["image", "uses"], &spec.location, message, "");
        }
    }
}
