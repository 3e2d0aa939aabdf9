//! Builds all flavors of a pool: the base, its variants, and copies of both for each tenant.

use kiln_document::diagnostic::Location;
use kiln_pool::Flavor;
use kiln_pool::config::Tenant;
use serde_json::Value;

use crate::reader::Reader;
use crate::section::{Instances, Section};
use crate::{json, spec, tenant, variant};

/// The parts that flavors are built from.
pub(crate) struct Parts<'a> {
    pub pool: &'a str,
    pub place: &'a Location,
    pub section: &'a dyn Section,
    /// The pool's spec.
    pub spec: Value,
    /// Number of instances of the base that are kept ready.
    pub warm: u32,
    pub variants: Vec<variant::Entry>,
    pub tenants: Vec<tenant::Entry>,
}

/// Returns the flavors in the order in which a request is matched, at least one.
pub(crate) fn all(parts: Parts<'_>, reader: &mut Reader<'_>) -> Vec<Flavor> {
    let Parts { pool, place, section, spec, warm, variants, tenants } = parts;
    let of_tenants = tenants.iter().map(|tenant| 1 + variants.len() + tenant.variants.len());
    let count = of_tenants.fold(1 + variants.len(), usize::saturating_add);
    let base = Set { key: pool.to_owned(), tenant: None, warm, limit: None };
    if !reader.may_add(count, place) {
        return vec![base.base(section, spec)];
    }
    let mut flavors = base.flavors(section, &spec, &variants, reader);
    for entry in tenants {
        let mut own = spec.clone();
        if let Some((over, place)) = &entry.spec {
            tell_emptied(&json::merge(&mut own, over), place, reader);
        }
        let key = format!("{pool}@{}", entry.tenant.id);
        let set = Set { key, tenant: Some(entry.tenant), warm: entry.warm.unwrap_or(warm), limit: entry.limit };
        flavors.extend(set.flavors(section, &own, &replaced(&variants, entry.variants), reader));
    }
    flavors
}

/// Base and variants of one tenant, or of everybody else.
struct Set {
    key: String,
    tenant: Option<Tenant>,
    warm: u32,
    limit: Option<u32>,
}

impl Set {
    fn base(&self, section: &dyn Section, spec: Value) -> Flavor {
        let Instances { launch, hibernate } = section.instances(spec);
        Flavor {
            key: self.key.clone(),
            variant: None,
            tenant: self.tenant.clone(),
            resource_class: None,
            nested_virtualization: false,
            warm: self.warm,
            limit: self.limit,
            hibernate,
            places: Vec::new(),
            launch,
        }
    }

    fn flavors(
        &self,
        section: &dyn Section,
        spec: &Value,
        variants: &[variant::Entry],
        reader: &mut Reader<'_>,
    ) -> Vec<Flavor> {
        let mut flavors = vec![self.base(section, spec.clone())];
        for variant in variants {
            let spec = spec::varied(section, spec, &variant.words, variant.spec.as_ref(), reader);
            let Instances { launch, hibernate } = section.instances(spec);
            flavors.push(Flavor {
                key: format!("{}/{}", self.key, variant.words.id),
                variant: Some(variant.words.id.clone()),
                tenant: self.tenant.clone(),
                resource_class: variant.resource_class.clone(),
                nested_virtualization: variant.nested_virtualization,
                warm: variant.warm,
                limit: variant.limit,
                hibernate: variant.words.hibernate.unwrap_or(hibernate),
                places: Vec::new(),
                launch,
            });
        }
        flavors
    }
}

/// Returns the pool's variants, with the tenant's in place of those with the same name, and the tenant's others at the
/// end.
fn replaced(variants: &[variant::Entry], own: Vec<variant::Entry>) -> Vec<variant::Entry> {
    let mut all = variants.to_vec();
    for variant in own {
        match all.iter_mut().find(|other| other.words.id == variant.words.id) {
            Some(other) => *other = variant,
            None => all.push(variant),
        }
    }
    all
}

fn tell_emptied(paths: &[String], place: &Location, reader: &mut Reader<'_>) {
    if paths.is_empty() {
        return;
    }
    let message = format!("drone-runner-aws keeps the pool's {}, Kiln does what the tenant says", quoted(paths));
    let help = "remove what is false, 0 or empty here to keep the pool's value";
    reader.warn("emptied-by-tenant", place, message, help);
}

fn quoted(paths: &[String]) -> String {
    paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ")
}
