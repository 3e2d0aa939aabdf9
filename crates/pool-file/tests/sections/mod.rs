//! A driver for these tests only, added in the same way as any driver.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use kiln_pool_file::json;
use kiln_pool_file::section::{Instances, Limit, Reader, Section, Variant};
use serde_json::Value;

/// Instances in a shed.
#[derive(Debug)]
pub struct Shed;

static SPEC: Table = Table::closed(
    "shed spec",
    &[
        Key::read("image", Shape::Text, "its image"),
        Key::read("cpus", Shape::Number, "virtual processors"),
        Key::read("memory", Shape::Number, "memory in MiB"),
        Key::read("disk", Shape::Of(&DISK), "the root disk"),
    ],
);

static DISK: Table = Table::closed("disk", &[Key::read("size", Shape::Number, "root disk in GiB")]);

static LIMITS: [Limit; 3] = [
    Limit { path: &["cpus"], range: 1..=8, unit: "" },
    Limit { path: &["memory"], range: 256..=65536, unit: "MiB" },
    Limit { path: &["disk", "size"], range: 1..=500, unit: "GiB" },
];

impl Section for Shed {
    fn name(&self) -> &'static str {
        "shed"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["barn"]
    }

    fn example(&self) -> &'static str {
        "{image: ubuntu}"
    }

    fn shape(&self) -> Shape {
        Shape::Of(&SPEC)
    }

    fn limits(&self) -> &'static [Limit] {
        &LIMITS
    }

    fn check(&self, spec: &Node, whole: bool, reader: &mut Reader<'_>) {
        if whole && reader.text(spec, "image").is_none() {
            let message = "the spec names no `image`".to_owned();
            reader.invalid("missing-key", &spec.location, message, "look into the shed");
        }
    }

    fn check_variant(&self, variant: &Node, reader: &mut Reader<'_>) {
        if let Some((place, _)) = variant.entry("machine_type") {
            let message = "a shed has one type only".to_owned();
            reader.push(Diagnostic::warning("no-effect", &place.location, message));
        }
    }

    fn isolates(&self) -> bool {
        true
    }

    fn vary(&self, spec: &mut Value, variant: &Variant, _: &mut Reader<'_>) {
        if let Some(image) = &variant.image_name {
            json::put(spec, &["image"], image.as_str().into());
        }
        if let Some(size) = variant.disk_gib {
            json::put(spec, &["disk", "size"], size.into());
        }
    }

    fn instances(&self, spec: Value) -> Instances {
        let launch = Launch {
            image: json::text(&spec, "/image").unwrap_or_default().to_owned(),
            cpus: json::number(&spec, "/cpus").unwrap_or(1),
            memory_mib: json::number(&spec, "/memory").unwrap_or(512),
            disk_gib: json::number(&spec, "/disk/size").unwrap_or(8),
            ..Launch::default()
        };
        Instances { launch, hibernate: false }
    }
}
