//! Reads what the containers of a stage share beside the source tree: `sharedPaths`, and volumes of a Kubernetes infrastructure.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::yaml::Node;

use super::reader::Reader;
use crate::expr::Template;
use crate::plan::{Graph, StepNode, Volume, VolumeSource};
use crate::quantity;

/// Reads the volumes of a stage whose steps are known.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Node, steps: &Graph<StepNode>) -> Vec<Volume> {
    let mut volumes = Vec::new();
    let containers = steps.has_containers();
    let mut shared = paths(reader, spec);
    shared.append(&mut reader.shared);
    if let Some((_, place)) = shared.first().filter(|_| !containers) {
        let message = "`sharedPaths` has no effect here: the steps of a stage on the host share the whole file system";
        reader.push(Diagnostic::note("no-effect", place, message));
        shared.clear();
    }
    for (path, _) in shared {
        if volumes.iter().all(|volume: &Volume| volume.everywhere.as_ref() != Some(&path)) {
            let source = VolumeSource::Temp { memory: false, size_bytes: 0 };
            volumes.push(Volume { name: format!("shared-{}", volumes.len()), source, everywhere: Some(path) });
        }
    }
    if let Some(of_pod) = spec.get("infrastructure").and_then(|of| of.get("spec")?.get("volumes")) {
        for volume in of_pod.items().unwrap_or_default() {
            volumes.extend(pod_volume(reader, volume, volumes.len()).filter(|_| containers));
        }
    }
    volumes
}

/// Returns the `sharedPaths` of a stage's `spec` or of a step group, and where they stand.
pub(super) fn paths(reader: &mut Reader<'_>, node: &Node) -> Vec<(String, Location)> {
    let Some(list) = node.get("sharedPaths") else { return Vec::new() };
    let mut read = Vec::new();
    for item in list.items().unwrap_or(std::slice::from_ref(list)) {
        let Some(path) = reader.fixed_text(item, "sharedPaths") else { continue };
        if path.starts_with('/') {
            read.push((path.to_owned(), item.location.clone()));
        } else {
            let message = format!("`sharedPaths` takes absolute paths, not `{path}`");
            reader.push(Diagnostic::invalid("wrong-type", &item.location, message));
        }
    }
    read
}

/// Reads a volume of a pod: an empty directory, one of the machine, or a claim, which starts empty here.
fn pod_volume(reader: &mut Reader<'_>, node: &Node, number: usize) -> Option<Volume> {
    let everywhere = reader.fixed(node, "mountPath").map(str::to_owned);
    let Some(everywhere) = everywhere else {
        reader.missing(node, &["mountPath"], &node.location, "the volume has no `mountPath`", "");
        return None;
    };
    let spec = node.get("spec");
    let source = match reader.fixed(node, "type") {
        Some("HostPath") => VolumeSource::Host(Template::literal(spec.and_then(|spec| spec.get("path")?.text())?)),
        Some("EmptyDir") => {
            let size = spec.and_then(|spec| quantity::kubernetes_bytes(spec.get("size")?.text()?)).unwrap_or_default();
            let memory = spec.and_then(|spec| spec.get("medium")?.text()).is_some_and(|text| text == "Memory");
            VolumeSource::Temp { memory, size_bytes: size }
        }
        other => {
            let message =
                format!("a volume of type `{}` starts empty: there is no cluster here", other.unwrap_or_default());
            reader.push(Diagnostic::note("no-effect", &node.location, message));
            VolumeSource::Temp { memory: false, size_bytes: 0 }
        }
    };
    Some(Volume { name: format!("pod-{number}"), source, everywhere: Some(everywhere) })
}
