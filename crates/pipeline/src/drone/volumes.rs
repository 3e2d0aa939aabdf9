//! Reads the volumes of a pipeline.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::Node;

use super::reader::Reader;
use super::tables;
use crate::plan::{Volume, VolumeSource};
use crate::quantity;

/// Kinds of volumes that only a cluster has.
const OF_CLUSTERS: [&str; 4] = ["claim", "config_map", "secret", "downward_api"];

/// Reads the volumes that steps can mount.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node) -> Vec<Volume> {
    let list = document.get("volumes").and_then(Node::items).unwrap_or_default();
    list.iter().filter_map(|node| volume(reader, node)).collect()
}

fn volume(reader: &mut Reader<'_>, node: &Node) -> Option<Volume> {
    if !reader.check(node, &tables::VOLUME) {
        return None;
    }
    let Some(name) = reader.fixed(node, "name").map(str::to_owned) else {
        reader.push(Diagnostic::invalid("missing-key", &node.location, "the volume has no `name`"));
        return None;
    };
    let source = source(reader, node, &name)?;
    Some(Volume { name, source, everywhere: None })
}

fn source(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<VolumeSource> {
    if let Some(host) = node.get("host") {
        let Some(path) = reader.template_at(host, "path") else {
            let message = format!("the volume `{name}` has no `path` on the host");
            reader.push(Diagnostic::invalid("missing-key", &host.location, message));
            return None;
        };
        let message =
            format!("the volume `{name}` is a path of the stage's own machine, not of the host that Kiln runs on");
        reader.push(Diagnostic::note("own-machine", &host.location, message));
        return Some(VolumeSource::Host(path));
    }
    if let Some(kind) = OF_CLUSTERS.into_iter().find(|kind| node.get(kind).is_some()) {
        let place = node.entry(kind).map_or(&node.location, |(key, _)| &key.location);
        let message = format!("the volume `{name}` is kept by a cluster, and there is none here");
        let found = Diagnostic::unsupported("cluster-volume", place, message);
        reader.push(found.help("a volume with `temp: {}` starts empty"));
        return None;
    }
    let temp = node.get("temp");
    let memory =
        temp.and_then(|temp| temp.get("medium")?.text()).is_some_and(|text| text.eq_ignore_ascii_case("memory"));
    let size = temp.and_then(|temp| temp.get("size_limit"));
    let size_bytes = match size.and_then(|size| Some((size, size.text()?))) {
        None => 0,
        Some((size, text)) => quantity::docker_bytes(text).unwrap_or_else(|| {
            let message = format!("`size_limit` takes an amount of memory like `512m` or `1gb`, not `{text}`");
            reader.push(Diagnostic::invalid("wrong-type", &size.location, message));
            0
        }),
    };
    Some(VolumeSource::Temp { memory, size_bytes })
}
