//! Variants: other kinds of instances of a pool.

use std::collections::HashMap;

use kiln_document::diagnostic::Location;
use kiln_document::yaml::Node;
use serde_json::Value;

use crate::driver::Driver;
use crate::qemu::MAX_DISK_GIB;
use crate::reader::{Reader, Words};
use crate::tables;

/// Most zones of a variant; a region has six at most.
const MAX_ZONES: usize = 32;

/// A variant as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub id: String,
    pub location: Location,
    pub warm: u32,
    pub limit: Option<u32>,
    pub image_name: Option<String>,
    pub machine_type: Option<String>,
    pub disk_gib: Option<u32>,
    pub disk_type: Option<String>,
    pub zones: Vec<String>,
    pub hibernate: Option<bool>,
    pub nested_virtualization: bool,
    pub resource_class: Option<String>,
    /// Laid over the pool's spec.
    pub spec: Option<Value>,
}

/// The variants of a pool or tenant, which was checked against its table.
pub(crate) fn read(owner: &Node, driver: Driver, reader: &mut Reader<'_>) -> Vec<Variant> {
    let items = owner.get("variants").and_then(Node::items).unwrap_or_default();
    let mut variants: Vec<Variant> = Vec::new();
    let mut lines: HashMap<String, u32> = HashMap::new();
    for node in items.iter().filter(|node| node.entries().is_some()) {
        let Some(variant) = one(node, driver, reader) else { continue };
        if let Some(line) = lines.insert(variant.id.clone(), node.location.line) {
            let message = format!("the variant `{}` stands twice", variant.id);
            reader.invalid("duplicate-variant", &node.location, message, &format!("it stands first in line {line}"));
            continue;
        }
        variants.push(variant);
    }
    tell_unreachable(&variants, reader);
    variants
}

fn one(node: &Node, driver: Driver, reader: &mut Reader<'_>) -> Option<Variant> {
    let Some((_, place)) = node.entry("variant_id").filter(|(_, value)| !value.is_null()) else {
        let help = "give it a name of its own: `variant_id: large`";
        reader.invalid("missing-key", &node.location, "a variant has no `variant_id`".to_owned(), help);
        return None;
    };
    let id = place.text().unwrap_or_default().to_owned();
    let named = reader.name("variant_id", &id, &place.location);
    driver.check_variant(node, reader);
    let warm = reader.instances(node, "pool").unwrap_or_default();
    let limit = reader.limit(node, "limit", "no limit but the pool's");
    let limit = raised(limit, warm, node, reader);
    let disk = reader.whole(node, "disk_size", 0..=MAX_DISK_GIB);
    let zones = reader.few(node, "zones", MAX_ZONES);
    let variant = Variant {
        id,
        location: place.location.clone(),
        warm,
        limit,
        image_name: reader.text(node, "image_name"),
        machine_type: reader.text(node, "machine_type"),
        disk_gib: disk.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0),
        disk_type: reader.text(node, "disk_type"),
        zones: zones.iter().filter_map(Node::text).map(str::to_owned).collect(),
        hibernate: reader.switch(node, "hibernate"),
        nested_virtualization: reader.switch(node, "enable_nested_virtualization").unwrap_or_default(),
        resource_class: reader.text(node, "resource_class"),
        spec: additions(node, driver, reader),
    };
    named.then_some(variant)
}

fn additions(node: &Node, driver: Driver, reader: &mut Reader<'_>) -> Option<Value> {
    let own = reader.checked(node.get("kiln")?, &tables::VARIANT_ADDITIONS, Words::Kiln)?;
    Some(driver.spec(own.get("spec")?, false, reader)).filter(Value::is_object)
}

/// A limit below what is kept ready is raised, as the incumbent does.
pub(crate) fn raised(limit: Option<u32>, warm: u32, node: &Node, reader: &mut Reader<'_>) -> Option<u32> {
    let limit = limit?;
    if let (true, Some(value)) = (limit < warm, node.get("limit")) {
        let message = format!("`limit` is {limit}, less than the {warm} instances that are kept ready; {warm} is used");
        reader.warn("limit-below-pool", &value.location, message, "raise `limit` or lower `pool`");
    }
    Some(limit.max(warm))
}

/// Of variants for the same requests only the first is ever chosen.
fn tell_unreachable(variants: &[Variant], reader: &mut Reader<'_>) {
    let mut seen: HashMap<(&Option<String>, bool, &Option<String>), &str> = HashMap::new();
    for variant in variants {
        let asked = (&variant.resource_class, variant.nested_virtualization, &variant.image_name);
        if let Some(first) = seen.get(&asked) {
            let message = format!("no request ever gets the variant `{}`: `{first}` is for the same ones", variant.id);
            let help = "give it a `resource_class`, an `image_name` or `enable_nested_virtualization` of its own";
            reader.warn("unreachable-variant", &variant.location, message, help);
        } else {
            seen.insert(asked, &variant.id);
        }
    }
}
