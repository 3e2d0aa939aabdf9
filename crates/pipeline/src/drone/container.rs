//! Reads the container that a step or a service runs in.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::truth;
use kiln_document::yaml::Node;

use super::reader::Reader;
use super::surroundings::{Machine, Surroundings};
use super::{settings, tables};
use crate::builders;
use crate::expr::Template;
use crate::plan::{Container, Limits, Mount, Net, PortBinding, Pull};
use crate::quantity;

/// A period of processor time in microseconds, as container engines have it.
const CPU_PERIOD_US: u64 = 100_000;

/// Returns the container that a step asks for.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    surroundings: &Surroundings,
    location: &Location,
    name: &str,
) -> Option<Container> {
    let image = node.get("image").filter(|image| image.text().is_some_and(|text| !text.is_empty()));
    let Some(image) = image else {
        if surroundings.machine == Machine::Containers {
            let kind = &surroundings.kind;
            let message = format!("the step `{name}` has no `image`, which every step of a `{kind}` pipeline needs");
            let found = Diagnostic::invalid("missing-key", location, message);
            reader.push(found.help("add an `image`, or let the pipeline run on the machine itself with `type: vm`"));
        }
        return None;
    };
    if surroundings.machine == Machine::Host {
        let message = format!("`image` has no effect in a pipeline of type `{}`", surroundings.kind);
        reader.push(Diagnostic::note("no-effect", &image.location, message));
        return None;
    }
    let mut container = Container::new(reader.template(image), image.location.clone());
    container.pull = pull(reader, node);
    container.credentials = surroundings.credentials.clone();
    container.settings = settings::read(reader, node);
    container.limits = limits(reader, node);
    container.ports = ports(reader, node);
    container.volumes = mounts(reader, node, "volumes", surroundings);
    container.devices = mounts(reader, node, "devices", surroundings);
    container.net = net(reader, node, name);
    program(reader, node, &mut container);
    privileged(reader, node, &mut container);
    Some(container)
}

/// Reads what runs in it. Commands come before the program that the step or the image names.
fn program(reader: &mut Reader<'_>, node: &Node, container: &mut Container) {
    let has_commands = node.get("commands").and_then(Node::items).is_some_and(|items| !items.is_empty());
    for key in ["entrypoint", "command"] {
        let Some((place, value)) = node.entry(key).filter(|(_, value)| !value.is_null()) else { continue };
        if has_commands {
            let message = format!("`{key}` has no effect beside `commands`, which a shell reads");
            reader.push(Diagnostic::note("no-effect", &place.location, message));
            continue;
        }
        let items = value.items().unwrap_or(std::slice::from_ref(value));
        let words = items.iter().filter(|item| item.text().is_some()).map(|item| reader.template(item)).collect();
        if key == "entrypoint" {
            container.entrypoint = words;
        } else {
            container.args = words;
        }
    }
}

/// Reads whether it is privileged: what builds images without commands of its own is, as in Drone's runners.
fn privileged(reader: &mut Reader<'_>, node: &Node, container: &mut Container) {
    let asked = node.get("privileged").and_then(truth);
    let own = ["commands", "command", "entrypoint"].iter().any(|key| node.get(key).is_some());
    let builds = builders::is_one(&container.image) && !own;
    container.privileged = asked.unwrap_or(false) || builds;
    if builds && asked != Some(true) {
        let message =
            format!("`{}` builds images in its container, which is privileged for that", container.image.text());
        reader.push(Diagnostic::note("privileged", &container.location, message));
    }
}

fn pull(reader: &mut Reader<'_>, node: &Node) -> Pull {
    let Some(value) = node.get("pull") else { return Pull::Default };
    match reader.fixed(node, "pull").map(str::to_ascii_lowercase).as_deref() {
        Some("always" | "true") => Pull::Always,
        Some("if-not-exists" | "ifnotpresent") => Pull::IfMissing,
        Some("never" | "false") => Pull::Never,
        Some("default") | None => Pull::Default,
        Some(other) => {
            let message = format!("`pull` is `default`, `always`, `if-not-exists` or `never`, not `{other}`");
            reader.push(Diagnostic::warning("unknown-word", &value.location, message).help("the default is taken"));
            Pull::Default
        }
    }
}

fn limits(reader: &mut Reader<'_>, node: &Node) -> Limits {
    let mut read = Limits {
        memory_bytes: bytes(reader, node, "mem_limit"),
        memory_and_swap_bytes: bytes(reader, node, "memswap_limit"),
        shm_bytes: bytes(reader, node, "shm_size"),
        cpu_period_us: number(reader, node, "cpu_period"),
        cpu_quota_us: number(reader, node, "cpu_quota"),
        cpu_shares: number(reader, node, "cpu_shares"),
        cpu_set: Vec::new(),
    };
    for key in ["cpu_set", "cpuset"] {
        read.cpu_set.extend(reader.texts(node, key).into_iter().map(|(text, _)| text.to_owned()));
    }
    let resources = node.get("resources").or_else(|| node.get("resource"));
    let Some(limits) = resources.and_then(|resources| resources.get("limits")) else { return read };
    // Drone's runner for Kubernetes takes thousandths of a processor without a unit.
    if let Some(cpu) =
        limits.get("cpu").and_then(|cpu| quantity::millicpus(&format!("{}m", cpu.text()?.trim_end_matches('m'))))
    {
        read.cpu_period_us = CPU_PERIOD_US;
        read.cpu_quota_us = cpu.saturating_mul(CPU_PERIOD_US) / 1000;
    }
    let memory = bytes(reader, limits, "memory");
    if memory > 0 {
        read.memory_bytes = memory;
    }
    read
}

/// Returns an amount of memory, 0 when there is none.
fn bytes(reader: &mut Reader<'_>, node: &Node, key: &str) -> u64 {
    let Some(text) = reader.fixed(node, key).filter(|text| *text != "0") else { return 0 };
    if let Some(bytes) = quantity::docker_bytes(text) {
        return bytes;
    }
    let place = node.get(key).map_or(&node.location, |value| &value.location);
    let message = format!("`{key}` takes an amount of memory like `512m` or `1gb`, not `{text}`");
    reader.push(Diagnostic::invalid("wrong-type", place, message));
    0
}

fn number(reader: &mut Reader<'_>, node: &Node, key: &str) -> u64 {
    let Some(text) = reader.fixed(node, key) else { return 0 };
    if let Ok(number) = text.parse() {
        return number;
    }
    let place = node.get(key).map_or(&node.location, |value| &value.location);
    reader.push(Diagnostic::invalid("wrong-type", place, format!("`{key}` takes a number, not `{text}`")));
    0
}

/// Reads the ports of the machine that lead to the container: `5432`, `8080:80`, `{port, host, protocol}`, or a mapping.
fn ports(reader: &mut Reader<'_>, node: &Node) -> Vec<PortBinding> {
    let mut read = Vec::new();
    for key in ["ports", "port_bindings"] {
        let Some(value) = node.get(key) else { continue };
        if let Some(entries) = value.entries() {
            let pairs = entries.iter().filter_map(|(host, container)| Some((host.text()?, container.text()?, host)));
            for (host, container, place) in pairs {
                port(reader, key, host, container, &place.location, &mut read);
            }
            continue;
        }
        for item in value.items().unwrap_or(std::slice::from_ref(value)) {
            let (host, container) = match (item.get("port").and_then(Node::text), item.text()) {
                (Some(of_container), _) => {
                    let host = item.get("host").and_then(Node::text).unwrap_or(of_container);
                    let protocol = item.get("protocol").and_then(Node::text).map(str::to_ascii_lowercase);
                    (host.to_owned(), protocol.map_or(of_container.to_owned(), |of| format!("{of_container}/{of}")))
                }
                (None, Some(text)) => match text.rsplit_once(':') {
                    Some((host, container)) => (host.to_owned(), container.to_owned()),
                    None => (text.split('/').next().unwrap_or_default().to_owned(), text.to_owned()),
                },
                (None, None) => continue,
            };
            port(reader, key, &host, &container, &item.location, &mut read);
        }
    }
    read
}

fn port(
    reader: &mut Reader<'_>,
    key: &str,
    host: &str,
    container: &str,
    place: &Location,
    read: &mut Vec<PortBinding>,
) {
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    let (port, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    if is_port(host) && is_port(port) && ["tcp", "udp", "sctp"].contains(&protocol) {
        read.push(PortBinding { host: host.to_owned(), container: container.to_owned() });
        return;
    }
    let message = format!("`{key}` takes ports like `5432` or `8080:80`, not `{host}:{container}`");
    reader.push(Diagnostic::invalid("wrong-type", place, message));
}

/// Reads where the container sees volumes or devices of the pipeline.
fn mounts(reader: &mut Reader<'_>, node: &Node, key: &str, surroundings: &Surroundings) -> Vec<Mount> {
    let mut read = Vec::new();
    for item in node.get(key).and_then(Node::items).unwrap_or_default() {
        if !reader.check(item, &tables::MOUNT) {
            continue;
        }
        let (volume, path) = (reader.fixed(item, "name"), reader.fixed(item, "path"));
        let (Some(volume), Some(path)) = (volume, path) else {
            let message = format!("an item of `{key}` has a `name` and a `path`");
            reader.push(Diagnostic::invalid("missing-key", &item.location, message));
            continue;
        };
        if surroundings.volumes.iter().any(|known| known == volume) {
            read.push(Mount { volume: volume.to_owned(), path: path.to_owned() });
            continue;
        }
        let place = item.get("name").map_or(&item.location, |name| &name.location);
        let mut found = Diagnostic::warning("unknown-volume", place, format!("the pipeline has no volume `{volume}`"));
        found.help = kiln_document::schema::did_you_mean(volume, surroundings.volumes.iter().map(String::as_str));
        found.help.get_or_insert_with(|| "Drone passes over it; name it in the pipeline's `volumes`".to_owned());
        reader.push(found);
    }
    read
}

fn net(reader: &mut Reader<'_>, node: &Node, name: &str) -> Net {
    let mode = reader.fixed(node, "network_mode").map(str::to_owned);
    let mut list = |key: &str| -> Vec<Template> {
        let Some(value) = node.get(key) else { return Vec::new() };
        let items = value.items().unwrap_or(std::slice::from_ref(value));
        items.iter().filter(|item| item.text().is_some()).map(|item| reader.template(item)).collect()
    };
    Net {
        mode,
        aliases: vec![name.to_owned()],
        dns: list("dns"),
        dns_search: list("dns_search"),
        extra_hosts: list("extra_hosts"),
    }
}
