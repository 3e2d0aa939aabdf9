//! Reads a step or a service.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::yaml::Node;

use super::order::Item;
use super::reader::{Identifiers, Reader};
use super::surroundings::{Machine, Surroundings};
use super::{conditions, container, script, settings, tables};
use crate::expr::Template;
use crate::plan::{
    EnvVar, ErrorKind, FailureAction, FailureStrategy, Os, Plugin, Process, Run, Shell, Step, StepKind, StepNode,
};

/// The exit code that ends a pipeline early and well.
const ENDS_WELL: i32 = 78;

/// Most characters of a step's name, as in Drone.
const LONGEST_NAME: usize = 100;

/// Reads a step. `number` counts the steps of the pipeline from 1.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    surroundings: &Surroundings,
    service: bool,
    number: usize,
    identifiers: &mut Identifiers,
) -> Item<StepNode> {
    let (name, location) = name(reader, node, service, number);
    let depends_on: Vec<_> =
        reader.texts(node, "depends_on").into_iter().map(|(name, place)| (name.to_owned(), place.clone())).collect();
    let step = Step {
        id: identifiers.make(&name),
        name: name.clone(),
        location: location.clone(),
        when: conditions::read(reader, node, "when"),
        strategy: None,
        failure: failure(node),
        timeout: None,
        ends_well: Some(ENDS_WELL),
        kind: kind(reader, node, surroundings, service, &location, &name, number),
    };
    Item { name, location, depends_on, after: Vec::new(), item: StepNode::Step(Box::new(step)) }
}

fn name(reader: &mut Reader<'_>, node: &Node, service: bool, number: usize) -> (String, Location) {
    if let Some((key, value)) = node.entry("name")
        && let Some(text) = value.text().filter(|text| !text.is_empty())
    {
        if text.chars().count() > LONGEST_NAME {
            let message = format!("a name has at most {LONGEST_NAME} characters");
            reader.push(Diagnostic::invalid("name-too-long", &value.location, message));
        }
        if text.contains("${") {
            let message = "nothing is replaced in a name";
            reader.push(Diagnostic::warning("substitution-not-possible", &value.location, message));
        }
        return (text.to_owned(), key.location.to(&value.location));
    }
    let place = node.entries().and_then(|entries| entries.first()).map_or(node, |(key, _)| key);
    let found = if service {
        let message = format!("the service has no `name`, it is called `service-{number}`");
        Diagnostic::warning("missing-key", &place.location, message)
    } else {
        Diagnostic::invalid("missing-key", &place.location, "the step has no `name`").help("give it one: `name: build`")
    };
    reader.push(found);
    (format!("{}-{number}", if service { "service" } else { "step" }), place.location.clone())
}

fn failure(node: &Node) -> Vec<FailureStrategy> {
    let action = match node.get("failure").and_then(Node::text) {
        Some("ignore") => FailureAction::Ignore,
        Some("fast" | "fast-fail" | "fail-fast") => FailureAction::EndStage,
        _ => return Vec::new(),
    };
    vec![FailureStrategy { errors: vec![ErrorKind::All], action }]
}

fn kind(
    reader: &mut Reader<'_>,
    node: &Node,
    surroundings: &Surroundings,
    service: bool,
    location: &Location,
    name: &str,
    number: usize,
) -> StepKind {
    let container = container::read(reader, node, surroundings, location, name);
    let shell = shell(node, surroundings.os);
    let commands: Vec<Template> =
        one_or_more(node, "commands").into_iter().map(|command| reader.template(command)).collect();
    if container.is_none() {
        on_host(reader, node, surroundings, location, name);
    }
    let mut env: Vec<EnvVar> = [("DRONE_STEP_NAME", name.to_owned()), ("DRONE_STEP_NUMBER", number.to_string())]
        .into_iter()
        .map(|(name, value)| EnvVar { name: name.to_owned(), value: Template::literal(value) })
        .collect();
    env.extend(settings::environment(reader, node));
    let process = Process {
        user: user(reader, node, container.is_some()),
        env,
        working_dir: reader.template_at(node, "working_dir"),
        ..Process::default()
    };
    let background = service || reader.switch(node, "detach");
    // What has no commands in a container is the image's own program.
    let script = (!commands.is_empty() || container.is_none()).then(|| script::script(commands, shell));
    match (container, script) {
        (Some(container), None) if !background && !container.settings.is_empty() => {
            StepKind::Plugin(Plugin { container, process })
        }
        (container, script) => {
            let run = Run { shell, script, container, process };
            if background { StepKind::Background(run) } else { StepKind::Run(run) }
        }
    }
}

/// Returns the scalars of a list, or a single scalar in its place.
fn one_or_more<'n>(node: &'n Node, key: &str) -> Vec<&'n Node> {
    let Some(value) = node.get(key) else { return Vec::new() };
    let items = value.items().unwrap_or(std::slice::from_ref(value));
    items.iter().filter(|item| item.text().is_some()).collect()
}

fn shell(node: &Node, os: Os) -> Shell {
    match node.get("shell").and_then(Node::text) {
        Some("sh") => Shell::Sh,
        Some("bash") => Shell::Bash,
        Some("pwsh") => Shell::Pwsh,
        Some("powershell") => Shell::Powershell,
        Some("python" | "python3") => Shell::Python,
        _ if os == Os::Windows => Shell::Powershell,
        _ => Shell::Sh,
    }
}

/// Reports what a step on the machine lacks, and keys that have no effect there.
fn on_host(reader: &mut Reader<'_>, node: &Node, surroundings: &Surroundings, location: &Location, name: &str) {
    if surroundings.machine == Machine::Containers {
        return;
    }
    if node.get("commands").is_none_or(|commands| commands.items().is_some_and(<[Node]>::is_empty)) {
        let message = format!("the step `{name}` has no `commands`");
        reader.push(
            Diagnostic::invalid("missing-key", location, message).help("add `commands:` with a list of commands"),
        );
    }
    for (key, value) in node.entries().unwrap_or_default() {
        let Some(text) = key.text().filter(|text| tables::CONTAINER_KEYS.contains(text)) else { continue };
        if !value.is_null() && value.text() != Some("false") {
            let message = format!("`{text}` has no effect on a step that runs on the machine itself");
            reader.push(Diagnostic::note("no-effect", &key.location, message));
        }
    }
}

/// Returns the user's numeric id. Names are known to the image only.
fn user(reader: &mut Reader<'_>, node: &Node, in_container: bool) -> Option<String> {
    let text = reader.fixed(node, "user")?;
    if text == "root" && !in_container {
        return Some("0".to_owned());
    }
    if !in_container && !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let place = &node.get("user")?.location;
        let message = format!("the user `{text}` is a name, and only numeric ids are taken");
        reader.push(Diagnostic::unsupported("user-name", place, message).help("write the number: `user: 1000`"));
        return None;
    }
    Some(text.to_owned())
}
