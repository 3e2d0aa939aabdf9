//! Tenants: accounts that get instances of their own.

use std::collections::HashMap;

use kiln_document::diagnostic::Location;
use kiln_document::yaml::Node;
use kiln_pool::config::Tenant;
use serde_json::Value;

use crate::reader::Reader;
use crate::section::Section;
use crate::{spec, variant};

/// Most accounts of a tenant. Each of its flavors has a copy of them.
const MAX_ACCOUNTS: usize = 1000;

/// A tenant from the file.
pub(crate) struct Entry {
    pub tenant: Tenant,
    /// Warm instances of its base; none for as many as the pool's base has.
    pub warm: Option<u32>,
    pub limit: Option<u32>,
    /// The spec that is merged into the pool's spec.
    pub spec: Option<(Value, Location)>,
    /// Its variants, which replace the pool's variants of the same name or are added to them.
    pub variants: Vec<variant::Entry>,
}

/// Reads the tenants of a pool that has been checked against its table.
pub(crate) fn read(pool: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Vec<Entry> {
    let items = pool.get("tenants").and_then(Node::items).unwrap_or_default();
    let mut tenants: Vec<Entry> = Vec::new();
    let mut owners: HashMap<String, String> = HashMap::new();
    let mut lines: HashMap<String, u32> = HashMap::new();
    for node in items.iter().filter(|node| node.entries().is_some()) {
        let Some(tenant) = identity(node, &mut owners, reader) else { continue };
        if let Some(line) = lines.insert(tenant.id.clone(), node.location.line) {
            let message = format!("the tenant `{}` occurs twice", tenant.id);
            reader.invalid("duplicate-tenant", &node.location, message, &format!("the first one is in line {line}"));
            continue;
        }
        let warm = reader.instances(node, "pool");
        let limit = reader.limit(node, "limit", "no limit but the pool's");
        tenants.push(Entry {
            tenant,
            warm,
            limit: variant::raised(limit, warm.unwrap_or_default(), node, reader),
            spec: laid_over(node, section, reader),
            variants: variant::read(node, section, reader),
        });
    }
    tenants
}

/// Reads name and accounts of a tenant. `owners` are the accounts of the tenants before it.
fn identity(node: &Node, owners: &mut HashMap<String, String>, reader: &mut Reader<'_>) -> Option<Tenant> {
    let ids = reader.few(node, "ids", MAX_ACCOUNTS);
    let Some(first) = ids.first() else {
        let message = "a tenant has no `ids`".to_owned();
        let help = "list the accounts that it is made of: `ids: [account]`";
        reader.invalid("missing-key", &node.location, message, help);
        return None;
    };
    let group = node.get("group_id").filter(|group| group.text() != Some(""));
    let place = group.unwrap_or(first);
    let what = if group.is_some() { "group_id" } else { "first of the `ids`" };
    let id = place.text().unwrap_or_default().to_owned();
    if !reader.name(what, &id, &place.location) {
        return None;
    }
    let mut accounts: Vec<String> = Vec::new();
    for account in ids {
        let name = account.text().unwrap_or_default();
        if name.is_empty() {
            let message = "an account among `ids` is empty".to_owned();
            reader.invalid("bad-name", &account.location, message, "remove it, or write the account's id");
        } else if let Some(owner) = owners.get(name).filter(|owner| **owner != id) {
            let message = format!("the account `{name}` is in two tenants, `{owner}` and `{id}`");
            reader.invalid("account-in-two-tenants", &account.location, message, "remove it from one of them");
        } else if owners.insert(name.to_owned(), id.clone()).is_none() {
            accounts.push(name.to_owned());
        }
    }
    Some(Tenant { id, accounts })
}

/// Returns the tenant's spec and its place. A spec that is no mapping has already been reported.
fn laid_over(node: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Option<(Value, Location)> {
    let node = node.get("spec")?;
    let spec = spec::read(section, node, false, reader);
    spec.is_object().then(|| (spec, node.location.clone()))
}
