//! Reads one `kind: pipeline` document into a stage.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::{did_you_mean, truth};
use kiln_document::yaml::Node;

use super::order::Item;
use super::reader::{Identifiers, Reader};
use super::surroundings::{Machine, Surroundings};
use super::{conditions, order, settings, step, tables, volumes};
use crate::expr::Template;
use crate::plan::{Arch, Credentials, EnvVar, Graph, Os, PoolRequest, Stage, StatusFilter, StepNode};

/// The types of Drone's own runners.
const TYPES: [(&str, Machine); 9] = [
    ("docker", Machine::Containers),
    ("kubernetes", Machine::Containers),
    ("vm", Machine::Either),
    ("aws", Machine::Either),
    ("nomad", Machine::Containers),
    ("exec", Machine::Host),
    ("ssh", Machine::Host),
    ("digitalocean", Machine::Host),
    ("macstadium", Machine::Host),
];

/// Reads a document. `number` counts the pipelines of the file from 1.
pub(super) fn read(
    reader: &mut Reader<'_>,
    document: &Node,
    identifiers: &mut Identifiers,
    number: usize,
) -> Item<Stage> {
    reader.check(document, &tables::PIPELINE);
    let location = document
        .entry("name")
        .or_else(|| document.entries()?.first().map(|(key, value)| (key, value)))
        .map_or_else(|| document.location.clone(), |(key, value)| key.location.to(&value.location));
    let name = document.get("name").and_then(Node::text).filter(|name| !name.is_empty()).unwrap_or("default");
    named(reader, document);
    let (kind, machine) = pipeline_type(reader, document);
    let (os, arch) = platform(reader, document, &kind);
    let volumes = volumes::read(reader, document);
    let names = volumes.iter().map(|volume| volume.name.clone()).collect();
    let credentials = credentials(reader, document);
    let surroundings = Surroundings { machine, kind, os, arch, volumes: names, credentials };
    let dependencies = reader.texts(document, "depends_on");
    let depends_on: Vec<_> = dependencies.into_iter().map(|(name, place)| (name.to_owned(), place.clone())).collect();
    let when = conditions::read(reader, document, "trigger");
    if when.status == StatusFilter::Failure && depends_on.is_empty() {
        let place = document
            .get("trigger")
            .and_then(|trigger| trigger.entry("status"))
            .map_or(&location, |(key, _)| &key.location);
        let message = "the pipeline waits for no other, so that nothing has failed when its turn comes";
        let help = "name the pipelines whose failure it is for: `depends_on: [...]`";
        reader.push(Diagnostic::warning("status-of-nothing", place, message).help(help));
    }
    let pool = document.get("pool").and_then(|pool| reader.fixed(pool, "use")).map(str::to_owned);
    let mut env = stage_variables(document, &surroundings, name, number, &depends_on);
    secrets(reader, document);
    env.extend(settings::environment(reader, document));
    let (workspace_base, workspace_dir) = workspace(reader, document, os);
    let stage = Stage {
        id: identifiers.make(name),
        name: name.to_owned(),
        location: location.clone(),
        pool: PoolRequest { name: pool, os, arch },
        workspace: !document.get("clone").is_some_and(|clone| reader.switch(clone, "disable")),
        workspace_dir,
        workspace_base,
        volumes,
        cache: None,
        variables: Vec::new(),
        env,
        when,
        strategy: None,
        failure: Vec::new(),
        timeout: None,
        steps: steps(reader, document, &surroundings),
    };
    Item { name: name.to_owned(), location, depends_on, after: Vec::new(), item: stage }
}

/// Warns about a name with `${NAME}` in it: nothing is replaced there.
fn named(reader: &mut Reader<'_>, node: &Node) {
    let Some(name) = node.get("name") else { return };
    if name.text().is_some_and(|text| text.contains("${")) {
        let message = "nothing is replaced in a name";
        reader.push(Diagnostic::warning("substitution-not-possible", &name.location, message));
    }
}

fn pipeline_type(reader: &mut Reader<'_>, document: &Node) -> (String, Machine) {
    let Some(value) = document.get("type").filter(|value| value.text() != Some("")) else {
        return ("docker".to_owned(), Machine::Containers);
    };
    let written = value.text().unwrap_or_default();
    let Some((kind, machine)) = TYPES.into_iter().find(|(kind, _)| *kind == written) else {
        let message = format!("pipelines of type `{written}` are not run");
        let mut found = Diagnostic::unsupported("pipeline-type", &value.location, message);
        found.help = did_you_mean(written, TYPES.map(|(kind, _)| kind));
        reader.push(found);
        return (written.to_owned(), Machine::Either);
    };
    match kind {
        "ssh" => {
            let message = "an `ssh` pipeline runs on a server of its own, Kiln runs pipelines on throw-away machines";
            let found = Diagnostic::unsupported("pipeline-type", &value.location, message);
            reader.push(found.help("with `type: vm` its steps run on a machine of Kiln's own"));
        }
        "digitalocean" | "macstadium" | "exec" => {
            let message = format!("a pipeline of type `{kind}` runs on a machine of Kiln's own here");
            reader.push(Diagnostic::note("own-machine", &value.location, message));
        }
        _ => {}
    }
    if kind != "ssh"
        && let Some((key, server)) = document.entry("server")
        && !server.is_null()
    {
        let message = "`server` has no effect here: the stage runs on a machine of Kiln's own";
        reader.push(Diagnostic::note("no-effect", &key.location, message));
    }
    (kind.to_owned(), machine)
}

fn platform(reader: &mut Reader<'_>, document: &Node, kind: &str) -> (Os, Arch) {
    let platform = document.get("platform");
    let mut word = |key: &str| Some((platform?.get(key)?, reader.fixed(platform?, key)?.to_ascii_lowercase()));
    let (os, arch) = (word("os"), word("arch"));
    let mut refuse = |value: &Node, text: &str, known: &[&'static str], what: &str| {
        let message = format!("there are no machines with the {what} `{text}`");
        let mut found = Diagnostic::unsupported("platform", &value.location, message);
        found.help = did_you_mean(text, known.iter().copied());
        reader.push(found);
    };
    let os = match os {
        None if kind == "macstadium" => Os::Darwin,
        None => Os::Linux,
        Some((value, text)) => match text.as_str() {
            "linux" => Os::Linux,
            "windows" => Os::Windows,
            "darwin" | "macos" => Os::Darwin,
            _ => {
                refuse(value, &text, &["linux", "windows"], "operating system");
                Os::Linux
            }
        },
    };
    let arch = match arch {
        None => Arch::Amd64,
        Some((value, text)) => match text.as_str() {
            "x86_64" => Arch::Amd64,
            "aarch64" => Arch::Arm64,
            word => Arch::ALL.into_iter().find(|arch| arch.word() == word).unwrap_or_else(|| {
                refuse(value, &text, &Arch::ALL.map(Arch::word), "processor");
                Arch::Amd64
            }),
        },
    };
    (os, arch)
}

/// Returns the directory that containers share, and in it that of the source. Drone's is `/drone/src` for both; a relative `path`
/// of `workspace` is below `base`, and an absolute one without a `base` is both.
fn workspace(reader: &mut Reader<'_>, document: &Node, os: Os) -> (String, String) {
    let default = if os == Os::Windows { "C:\\drone\\src" } else { "/drone/src" };
    let Some(workspace) = document.get("workspace") else { return (default.to_owned(), default.to_owned()) };
    let base = reader.fixed(workspace, "base");
    let path = reader.fixed(workspace, "path");
    let absolute = |path: &str| path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    let separator = if os == Os::Windows { '\\' } else { '/' };
    let base = base.map_or_else(|| default.to_owned(), str::to_owned);
    let base = if absolute(&base) { base } else { format!("{default}{separator}{base}") };
    let directory = match path {
        Some(path) if absolute(path) => path.to_owned(),
        Some(path) => format!("{}{separator}{path}", base.trim_end_matches(['/', '\\'])),
        None => base.clone(),
    };
    let within = directory.strip_prefix(&base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\\']));
    (if within { base } else { directory.clone() }, directory)
}

/// Returns whose credentials images are pulled with: secrets that hold Docker's configuration.
fn credentials(reader: &mut Reader<'_>, document: &Node) -> Credentials {
    let names = reader.texts(document, "image_pull_secrets");
    let configs: Vec<Template> = names.into_iter().map(|(name, _)| Template::secret(name)).collect();
    if configs.is_empty() { Credentials::Nobody } else { Credentials::Configs(configs) }
}

/// Refuses secrets in the variables of a pipeline.
fn secrets(reader: &mut Reader<'_>, document: &Node) {
    for (key, value) in document.get("environment").and_then(Node::entries).unwrap_or_default() {
        if value.get("from_secret").is_some() {
            let name = key.text().unwrap_or_default();
            let message = format!("`{name}` takes text: Drone has no `from_secret` in the `environment` of a pipeline");
            let found = Diagnostic::invalid("pipeline-secret", &value.location, message);
            reader.push(found.help("move it to the `environment` of each step that needs it"));
        }
    }
}

/// Returns the variables that every step gets about its stage.
fn stage_variables(
    document: &Node,
    surroundings: &Surroundings,
    name: &str,
    number: usize,
    depends_on: &[(String, Location)],
) -> Vec<EnvVar> {
    let os = match surroundings.os {
        Os::Linux => "linux",
        Os::Windows => "windows",
        Os::Darwin => "darwin",
    };
    let arch = surroundings.arch.word();
    let platform = |key: &str| document.get("platform").and_then(|of| of.get(key)?.text()).unwrap_or_default();
    let is_on = |key: &str| document.get("clone").and_then(|clone| truth(clone.get(key)?)).unwrap_or(false);
    let of_git = [("GIT_SSL_NO_VERIFY", "skip_verify"), ("GIT_TRACE", "trace")].into_iter();
    let needs: Vec<&str> = depends_on.iter().map(|(name, _)| name.as_str()).collect();
    [
        ("DRONE_STAGE_KIND", "pipeline".to_owned()),
        ("DRONE_STAGE_TYPE", surroundings.kind.clone()),
        ("DRONE_STAGE_NAME", name.to_owned()),
        ("DRONE_STAGE_NUMBER", number.to_string()),
        ("DRONE_STAGE_OS", os.to_owned()),
        ("DRONE_STAGE_ARCH", arch.to_owned()),
        ("DRONE_STAGE_VARIANT", platform("variant").to_owned()),
        ("DRONE_STAGE_DEPENDS_ON", needs.join(",")),
    ]
    .into_iter()
    .chain(of_git.filter(|(_, key)| is_on(key)).map(|(name, _)| (name, "true".to_owned())))
    .map(|(name, value)| EnvVar { name: name.to_owned(), value: Template::literal(value) })
    .collect()
}

/// Reads the services, then the steps. Each step waits for the one before it, unless any step names what it waits for.
fn steps(reader: &mut Reader<'_>, document: &Node, surroundings: &Surroundings) -> Graph<StepNode> {
    let list = |key: &str| document.get(key).and_then(Node::items).unwrap_or_default();
    let (services, steps) = (list("services"), list("steps"));
    if document.get("steps").is_none_or(|steps| steps.items().is_some_and(<[Node]>::is_empty)) {
        let place = document.entry("steps").map_or(&document.location, |(key, _)| &key.location);
        reader.push(Diagnostic::warning("no-steps", place, "the pipeline has no steps"));
    }
    let named = |step: &&Node| step.get("depends_on").and_then(Node::items).is_some_and(|names| !names.is_empty());
    let graph = steps.iter().any(|step| named(&step)) || services.iter().any(|step| named(&step));
    let mut items: Vec<Item<StepNode>> = Vec::new();
    let mut identifiers = Identifiers::default();
    let all = services.iter().map(|node| (node, true)).chain(steps.iter().map(|node| (node, false)));
    let mut last_service = None;
    for (nothing, service) in all.clone().filter(|(node, _)| node.is_null()) {
        let message = format!("an item of `{}` is empty", if service { "services" } else { "steps" });
        reader.push(Diagnostic::invalid("empty-step", &nothing.location, message).help("remove its `-`"));
    }
    for (node, service) in all.filter(|(node, _)| node.entries().is_some()) {
        let at = items.len();
        let mut item = step::read(reader, node, surroundings, service, at + 1, &mut identifiers);
        // Services start one after another; what waits for the last one waits for all of them.
        let before = if service || !graph { at.checked_sub(1) } else { last_service };
        item.after = before.into_iter().collect();
        if service {
            last_service = Some(at);
        }
        items.push(item);
    }
    if !document.get("clone").is_some_and(|clone| reader.switch(clone, "disable")) {
        cloned(reader, &items);
    }
    Graph { nodes: order::resolve(reader, items, "step") }
}

/// Refuses a step that has the name of the one that Drone puts before all others.
fn cloned(reader: &mut Reader<'_>, steps: &[Item<StepNode>]) {
    for step in steps.iter().filter(|step| step.name == order::CLONE) {
        let message = "Drone has a step `clone` of its own, and no other may have that name";
        let help = "give the step another name, or leave Drone's own out with `clone: {disable: true}`";
        reader.push(Diagnostic::invalid("duplicate-name", &step.location, message).help(help));
    }
}
