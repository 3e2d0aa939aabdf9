//! Variants: other kinds of instances of a pool.

use std::collections::HashMap;

use kiln_document::schema::Shape;
use kiln_document::yaml::Node;
use serde_json::Value;

use crate::reader::{Reader, Words};
use crate::section::{Section, Variant};
use crate::{spec, tables};

/// Most zones of a variant. A region has six at most.
const MAX_ZONES: usize = 32;
/// Largest root disk in GiB that any driver could make; the largest volume of EC2.
const MAX_DISK_GIB: i64 = 64 * 1024;

/// A variant from the file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its own keys, for the driver's section.
    pub words: Variant,
    pub warm: u32,
    pub limit: Option<u32>,
    pub nested_virtualization: bool,
    pub resource_class: Option<String>,
    /// The spec that is merged into the pool's spec.
    pub spec: Option<Value>,
}

/// Reads the variants of a pool or tenant that has been checked against its table.
pub(crate) fn read(owner: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Vec<Entry> {
    let items = owner.get("variants").and_then(Node::items).unwrap_or_default();
    let mut variants: Vec<Entry> = Vec::new();
    let mut lines: HashMap<String, u32> = HashMap::new();
    for node in items.iter().filter(|node| node.entries().is_some()) {
        let Some(variant) = one(node, section, reader) else { continue };
        let id = &variant.words.id;
        if let Some(line) = lines.insert(id.clone(), node.location.line) {
            let message = format!("the variant `{id}` occurs twice");
            reader.invalid("duplicate-variant", &node.location, message, &format!("the first one is in line {line}"));
            continue;
        }
        variants.push(variant);
    }
    tell_unreachable(&variants, reader);
    variants
}

fn one(node: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Option<Entry> {
    let Some((_, place)) = node.entry("variant_id").filter(|(_, value)| !value.is_null()) else {
        let help = "give it a name of its own: `variant_id: large`";
        reader.invalid("missing-key", &node.location, "a variant has no `variant_id`".to_owned(), help);
        return None;
    };
    let id = place.text().unwrap_or_default().to_owned();
    let named = reader.name("variant_id", &id, &place.location);
    section.check_variant(node, reader);
    let warm = reader.instances(node, "pool").unwrap_or_default();
    let limit = reader.limit(node, "limit", "no limit but the pool's");
    let limit = raised(limit, warm, node, reader);
    let disk = reader.whole(node, "disk_size", 0..=MAX_DISK_GIB);
    let zones = reader.few(node, "zones", MAX_ZONES);
    let words = Variant {
        id,
        image_name: reader.text(node, "image_name"),
        machine_type: reader.text(node, "machine_type"),
        disk_gib: disk.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0),
        disk_type: reader.text(node, "disk_type"),
        zones: zones.iter().filter_map(Node::text).map(str::to_owned).collect(),
        hibernate: reader.switch(node, "hibernate"),
        location: place.location.clone(),
    };
    let variant = Entry {
        words,
        warm,
        limit,
        nested_virtualization: reader.switch(node, "enable_nested_virtualization").unwrap_or_default(),
        resource_class: reader.text(node, "resource_class"),
        spec: additions(node, section, reader),
    };
    named.then_some(variant)
}

fn additions(node: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Option<Value> {
    let own = reader.checked(node.get("kiln")?, &Shape::Of(&tables::VARIANT_ADDITIONS), Words::Kiln)?;
    Some(spec::read(section, own.get("spec")?, false, reader)).filter(Value::is_object)
}

/// Raises a limit below the number of warm instances, as the incumbent does, and warns about it.
pub(crate) fn raised(limit: Option<u32>, warm: u32, node: &Node, reader: &mut Reader<'_>) -> Option<u32> {
    let limit = limit?;
    if let (true, Some(value)) = (limit < warm, node.get("limit")) {
        let message = format!("`limit` is {limit}, less than the {warm} instances that are kept ready; {warm} is used");
        reader.warn("limit-below-pool", &value.location, message, "raise `limit` or lower `pool`");
    }
    Some(limit.max(warm))
}

/// Warns about a variant that serves the same requests as an earlier one, which is always chosen instead.
fn tell_unreachable(variants: &[Entry], reader: &mut Reader<'_>) {
    let mut seen: HashMap<(&Option<String>, bool, &Option<String>), &str> = HashMap::new();
    for variant in variants {
        let asked = (&variant.resource_class, variant.nested_virtualization, &variant.words.image_name);
        if let Some(first) = seen.get(&asked) {
            let message =
                format!("no request ever gets the variant `{}`: `{first}` is for the same ones", variant.words.id);
            let help = "give it a `resource_class`, an `image_name` or `enable_nested_virtualization` of its own";
            reader.warn("unreachable-variant", &variant.words.location, message, help);
        } else {
            seen.insert(asked, &variant.words.id);
        }
    }
}
