//! Reads the container that a step runs in, and what a step on the host says of one that it does not have.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::truth;
use kiln_document::yaml::Node;

use super::reader::Reader;
use crate::builders;
use crate::plan::{Container, Credentials, Limits, PortBinding, Pull};
use crate::quantity;

/// A period of processor time in microseconds, as container engines have it.
const CPU_PERIOD_US: u64 = 100_000;

/// Keys that say something of a container, and what a step without one is told about them.
const OF_CONTAINERS: [(&str, &str); 4] = [
    ("entrypoint", "it belongs to an image, and the step has none"),
    ("portBindings", "a program on the host opens its ports itself"),
    ("privileged", "only a container can be privileged"),
    ("resources", "Kiln gives every step on the host the whole machine of its stage"),
];

/// Returns the container of a step's `spec`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Node) -> Option<Container> {
    let image = spec.get("image").filter(|image| image.text().is_some_and(|text| !text.trim().is_empty()))?;
    let mut container = Container::new(reader.template(image), image.location.clone());
    container.pull = match reader.fixed(spec, "imagePullPolicy") {
        Some("Always") => Pull::Always,
        Some("IfNotPresent") => Pull::IfMissing,
        Some("Never") => Pull::Never,
        _ => reader.defaults.pull,
    };
    container.credentials = credentials(reader, spec, "the image is pulled");
    container.privileged = reader.switch(spec, "privileged").unwrap_or(reader.defaults.privileged);
    container.limits = limits(reader, spec);
    container.ports = ports(reader, spec);
    container.entrypoint = reader.texts(spec, "entrypoint");
    if let Some((key, _)) = spec.entry("registryRef").filter(|(_, value)| !value.is_null()) {
        let message = "`registryRef` has no effect here: the image is pulled by the name that it has";
        reader.push(Diagnostic::note("no-effect", &key.location, message));
    }
    Some(container)
}

/// Makes the container of a plugin privileged that builds images in it, and says so.
pub(super) fn as_plugin(reader: &mut Reader<'_>, spec: &Node, container: &mut Container) {
    let asked = spec.get("privileged").and_then(truth);
    if asked.is_none() && builders::is_one(&container.image) {
        container.privileged = true;
        let message =
            format!("`{}` builds images in its container, which is privileged for that", container.image.text());
        reader.push(Diagnostic::note("privileged", &container.location, message));
    }
}

/// Notes the keys of a step on the host that say something of a container.
pub(super) fn on_host(reader: &mut Reader<'_>, spec: &Node) {
    for (key, why) in OF_CONTAINERS {
        if let Some((place, _)) = spec.entry(key).filter(|(_, value)| !value.is_null()) {
            let message = format!("`{key}` has no effect here: {why}");
            reader.push(Diagnostic::note("no-effect", &place.location, message));
        }
    }
}

/// Returns whose credentials a registry is asked with; `what` is done with them.
pub(super) fn credentials(reader: &mut Reader<'_>, spec: &Node, what: &str) -> Credentials {
    let Some(connector) = spec.get("connectorRef").filter(|value| value.text().is_some_and(|text| !text.is_empty()))
    else {
        return Credentials::Nobody;
    };
    let Some(name) = reader.optional(spec, "connectorRef") else {
        let message = format!("no connector is given, and {what} as anybody");
        reader.push(Diagnostic::note("connector", &connector.location, message));
        return Credentials::Nobody;
    };
    let text = name.text();
    let message = format!("the connector `{text}` is kept by the Harness platform");
    let help = format!(
        "{what} with the secrets `connectors.{text}.username` and `.password` where they are given, else as anybody"
    );
    reader.push(Diagnostic::note("connector", &connector.location, message).help(help));
    Credentials::Connector(name)
}

fn limits(reader: &mut Reader<'_>, spec: &Node) -> Limits {
    let mut read = Limits::default();
    let Some(resources) = spec.get("resources") else { return read };
    if let Some((key, _)) = resources.entry("requests").filter(|(_, value)| !value.is_null()) {
        let message = "`requests` has no effect here: a container has the machine of its stage, up to its `limits`";
        reader.push(Diagnostic::note("no-effect", &key.location, message));
    }
    let Some(limits) = resources.get("limits") else { return read };
    if let Some(memory) = amount(reader, limits, "memory", quantity::kubernetes_bytes, "`500Mi`, `2Gi`") {
        read.memory_bytes = memory;
    }
    if let Some(cpu) = amount(reader, limits, "cpu", quantity::millicpus, "`400m`, `0.5`, `2`") {
        read.cpu_period_us = CPU_PERIOD_US;
        read.cpu_quota_us = cpu.saturating_mul(CPU_PERIOD_US) / 1000;
    }
    read
}

fn amount(reader: &mut Reader<'_>, limits: &Node, key: &str, read: fn(&str) -> Option<u64>, like: &str) -> Option<u64> {
    let text = reader.fixed(limits, key)?;
    let amount = read(text);
    if amount.is_none() {
        let place = limits.get(key).map_or(&limits.location, |value| &value.location);
        let message = format!("`{key}` takes an amount like {like}, not `{text}`");
        reader.push(Diagnostic::invalid("wrong-type", place, message));
    }
    amount
}

fn ports(reader: &mut Reader<'_>, spec: &Node) -> Vec<PortBinding> {
    let mut read = Vec::new();
    let Some(map) = spec.get("portBindings") else { return read };
    for (host, container) in map.entries().unwrap_or_default() {
        let (Some(from), Some(to)) = (host.text(), container.text()) else { continue };
        let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
        let is_bound = |text: &str| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            is_port(port) && ["tcp", "udp", "sctp"].contains(&protocol)
        };
        if is_port(from) && is_bound(to) {
            read.push(PortBinding { host: from.to_owned(), container: to.to_owned() });
            continue;
        }
        let message = format!("`{from}: {to}` binds no port of the machine to one of the container");
        let found = Diagnostic::invalid("wrong-type", &host.location.to(&container.location), message);
        reader.push(found.help("both are numbers, and the second may name its protocol: `\"53\": \"53/udp\"`"));
    }
    read
}
