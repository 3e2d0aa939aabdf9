//! Reads what `Run`, `Background` and `Plugin` steps do.

use std::collections::HashSet;

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::{Kind, Node};

use super::reader::{Reader, name_place};
use super::step_tables;
use crate::expr::Template;
use crate::plan::{Container, EnvVar, OutputVar, Plugin, Process, Run, Shell, StepKind};
use crate::reach;

/// Reads the `spec` of a step of that type.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    let spec = spec(reader, step, kind)?;
    let container = container(reader, spec, kind);
    let read = match (kind, container) {
        ("Plugin", Some(container)) => StepKind::Plugin(Plugin { container, process: process(reader, spec) }),
        ("Plugin", None) => {
            process(reader, spec);
            return None;
        }
        ("Background", container) => StepKind::Background(run(reader, step, spec, container, true)),
        (_, container) => StepKind::Run(run(reader, step, spec, container, false)),
    };
    if !reach::carries_out(&read) {
        refuse(reader, spec, kind);
    }
    Some(read)
}

/// Returns the checked `spec` of a step.
fn spec<'n>(reader: &mut Reader<'_>, step: &'n Node, kind: &str) -> Option<&'n Node> {
    let table = match kind {
        "Run" => &step_tables::RUN,
        "Background" => &step_tables::BACKGROUND,
        _ => &step_tables::PLUGIN,
    };
    let Some(spec) = step.get("spec") else {
        reader.missing(step, &["spec"], name_place(step), "the step has no `spec`", "`spec` says what it runs");
        return None;
    };
    reader.check(spec, table).then_some(spec)
}

fn run(reader: &mut Reader<'_>, step: &Node, spec: &Node, container: Option<Container>, background: bool) -> Run {
    if let Some((key, _)) = spec.entry("entrypoint").filter(|(_, value)| container.is_none() && !value.is_null()) {
        let message = "`entrypoint` has no effect here: it belongs to an image, and the step has none";
        reader.push(Diagnostic::note("no-effect", &key.location, message));
    }
    let has_command = spec.get("command").and_then(Node::text).is_some_and(|text| !text.trim().is_empty());
    if !has_command && !background {
        reader.missing(spec, &["command"], name_place(step), "the `Run` step has no `command`", "");
    }
    if !has_command && background && container.is_none() {
        let help = "a step on the host needs a `command`, one in a container needs an `image`";
        reader.missing(spec, &["command", "image"], name_place(step), "the `Background` step has no `command`", help);
    }
    let script = reader.template_at(spec, "command").filter(|_| has_command || container.is_none());
    let script = script.or_else(|| container.is_none().then(|| Template::literal("")));
    Run { shell: shell(reader, spec), script, container, process: process(reader, spec) }
}

fn process(reader: &mut Reader<'_>, spec: &Node) -> Process {
    let reports = spec.get("reports").and_then(|reports| reports.get("spec"));
    Process {
        env: reader.env(spec, "envVariables"),
        outputs: outputs(reader, spec),
        reports: reports.map_or_else(Vec::new, |spec| reader.texts(spec, "paths")),
        working_dir: None,
        user: user(reader, spec),
    }
}

/// Refuses a step whose kind is not carried out yet.
fn refuse(reader: &mut Reader<'_>, spec: &Node, kind: &str) {
    let (message, help) = match kind {
        "Plugin" => ("the plugin's container is not run yet", "a `Run` step without `image` that does the same is run"),
        _ => (
            "steps in containers are not run yet",
            "without `image` the step runs on the machine itself, which may need its tools installed first",
        ),
    };
    let image = spec.get("image").unwrap_or(spec);
    let message = format!("{message}: `{}`", image.text().unwrap_or_default());
    reader.push(Diagnostic::unsupported("container-step", &image.location, message).help(help));
}

fn shell(reader: &mut Reader<'_>, spec: &Node) -> Shell {
    match reader.fixed(spec, "shell") {
        Some("Bash") => Shell::Bash,
        Some("Powershell") => Shell::Powershell,
        Some("Pwsh") => Shell::Pwsh,
        Some("Python") => Shell::Python,
        _ => Shell::Sh,
    }
}

fn user(reader: &mut Reader<'_>, spec: &Node) -> Option<String> {
    let text = reader.fixed(spec, "runAsUser")?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    let place = spec.get("runAsUser").map_or(&spec.location, |value| &value.location);
    let message = format!("`runAsUser` takes a numeric user, not `{text}`");
    reader
        .push(Diagnostic::invalid("wrong-type", place, message).help("`0` is root, `1000` is usually the first user"));
    None
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

/// Returns the container that a step asks for.
fn container(reader: &mut Reader<'_>, spec: &Node, kind: &str) -> Option<Container> {
    let image = spec.get("image").filter(|image| image.text().is_some_and(|text| !text.trim().is_empty()));
    let Some(image) = image else {
        if kind == "Plugin" {
            plugin_without_image(reader, spec);
        }
        return None;
    };
    let settings = settings(reader, spec);
    let entrypoint = reader.texts(spec, "entrypoint");
    Some(Container { entrypoint, settings, ..Container::new(reader.template(image), image.location.clone()) })
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

/// Returns a plugin's settings as the environment variables that it reads.
fn settings(reader: &mut Reader<'_>, spec: &Node) -> Vec<EnvVar> {
    let mut read = Vec::new();
    for (name, value) in spec.get("settings").and_then(Node::entries).unwrap_or_default() {
        let text = setting(value);
        let parsed = Template::parse(&text, &value.location);
        let value = match parsed {
            Ok(template) => {
                reader.uses.add(&template, &value.location);
                template
            }
            Err(problem) => {
                reader.push(problem);
                Template::literal(text)
            }
        };
        let name = format!("PLUGIN_{}", name.text().unwrap_or_default().to_ascii_uppercase().replace(['-', '.'], "_"));
        read.push(EnvVar { name, value });
    }
    read
}

/// Returns the text of a setting: scalars as they are, lists of scalars joined by commas, everything else as JSON.
fn setting(value: &Node) -> String {
    match &value.kind {
        Kind::Scalar(_) => value.text().unwrap_or_default().to_owned(),
        Kind::Sequence(items) if items.iter().all(|item| matches!(item.kind, Kind::Scalar(_))) => {
            items.iter().map(|item| item.text().unwrap_or_default()).collect::<Vec<_>>().join(",")
        }
        _ => value.to_json().to_string(),
    }
}
