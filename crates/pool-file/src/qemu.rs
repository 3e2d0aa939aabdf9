//! Specs of instances on this machine.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use serde_json::Value;

use crate::json;
use crate::reader::Reader;
use crate::variant::Variant;

/// Processors, memory in MiB and disk in GiB of an instance, unless the spec says otherwise.
const DEFAULT_CPUS: u32 = 2;
const DEFAULT_MEMORY_MIB: u32 = 1280;
pub(crate) const DEFAULT_DISK_GIB: u32 = 16;

/// The largest values that are not a slip.
const MAX_CPUS: i64 = 256;
const MIN_MEMORY_MIB: i64 = 128;
const MAX_MEMORY_MIB: i64 = 4 * 1024 * 1024;
pub(crate) const MAX_DISK_GIB: i64 = 64 * 1024;

/// The spec.
pub(crate) static SPEC: Table = Table::closed(
    "qemu spec",
    &[
        Key::read("image", Shape::Text, "image, by the name in `kiln image list`"),
        Key::read("cpus", Shape::Number, "virtual processors"),
        Key::read("memory", Shape::Number, "memory in MiB"),
        Key::read("disk", Shape::Of(&DISK), "the root disk"),
    ],
);

static DISK: Table = Table::closed("disk", &[Key::read("size", Shape::Number, "smallest root disk in GiB")]);

/// Tells about values that make no sense; `whole` specs must have an image.
pub(crate) fn check(node: &Node, whole: bool, reader: &mut Reader<'_>) {
    if whole && reader.text(node, "image").is_none() {
        let message = "the spec names no `image`".to_owned();
        reader.invalid("missing-key", &node.location, message, "`kiln image list` shows the images of this machine");
    }
    reader.whole(node, "cpus", 1..=MAX_CPUS);
    let tiny = reader.whole(node, "memory", 1..=MAX_MEMORY_MIB).filter(|memory| *memory < MIN_MEMORY_MIB);
    if let (Some(memory), Some(value)) = (tiny, node.get("memory")) {
        let message = format!("`memory` is in MiB and at least {MIN_MEMORY_MIB}, not {memory}");
        let help = format!("if GiB are meant, write `memory: {}`", memory.saturating_mul(1024));
        reader.invalid("out-of-range", &value.location, message, &help);
    }
    if let Some(disk) = node.get("disk") {
        reader.whole(disk, "size", 1..=MAX_DISK_GIB);
    }
}

/// Tells about keys of a variant that mean nothing here.
pub(crate) fn check_variant(node: &Node, reader: &mut Reader<'_>) {
    for key in ["machine_type", "disk_type", "zones"] {
        if let (Some((place, _)), Some(_)) = (node.entry(key), node.get(key)) {
            let message = format!("`{key}` has no effect here: instances on this machine have no such thing");
            let found = Diagnostic::warning("no-effect", &place.location, message);
            reader.push(found.help("write `kiln: {spec: {cpus: 4, memory: 8192}}` into the variant"));
        }
    }
}

/// Lays the incumbent's keys of a variant over a spec.
pub(crate) fn vary(spec: &mut Value, variant: &Variant) {
    if let Some(image) = &variant.image_name {
        json::put(spec, &["image"], image.as_str().into());
    }
    if let Some(size) = variant.disk_gib {
        json::put(spec, &["disk", "size"], size.into());
    }
}

/// What is launched. Nothing is left for the driver alone.
pub(crate) fn launch(spec: &Value) -> Launch {
    Launch {
        image: json::text(spec, "/image").unwrap_or_default().to_owned(),
        cpus: json::number(spec, "/cpus").unwrap_or(DEFAULT_CPUS),
        memory_mib: json::number(spec, "/memory").unwrap_or(DEFAULT_MEMORY_MIB),
        disk_gib: json::number(spec, "/disk/size").unwrap_or(DEFAULT_DISK_GIB),
        spec: Value::Null,
    }
}
