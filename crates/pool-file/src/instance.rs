//! One item of `instances`: a pool.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::Shape;
use kiln_document::yaml::Node;
use kiln_pool::{Flavor, Pool, SiteId};
use serde_json::Value;

use crate::flavors::{self, Parts};
use crate::reader::Reader;
use crate::section::Platform;
use crate::types::{Drivers, Found};
use crate::{additions, spec, tenant, variant};

/// Default limit of a pool; the incumbent's.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// Reads a pool that has been checked against its table. `pools` are the names of all pools.
pub(crate) fn read(
    node: &Node,
    name: &str,
    pools: &[&str],
    drivers: Drivers<'_>,
    reader: &mut Reader<'_>,
) -> Option<Pool> {
    let platform = platform(node, reader);
    let type_node = node.get("type").filter(|value| value.text().is_some_and(|text| !text.is_empty()));
    let Some(type_node) = type_node else {
        let message = format!("the pool `{name}` has no `type`");
        let help = format!("write `type:` and a driver of this release: {}", drivers.names());
        reader.invalid("missing-key", &node.location, message, &help);
        return None;
    };
    let type_name = type_node.text().unwrap_or_default();
    let Found { section, usable } = drivers.find(type_name, type_node, reader)?;
    if usable {
        tell_unsupported(&platform, node, reader);
    }
    let place = node.get("name").map_or(&node.location, |name| &name.location);
    let spec = match node.get("spec") {
        Some(spec) => {
            let mut spec = spec::read(section, spec, true, reader);
            section.complete(&mut spec, &platform);
            spec
        }
        None if matches!(section.shape(), Shape::Any) => Value::Null,
        None => {
            let message = format!("the pool `{name}` has no `spec`");
            reader.invalid("missing-key", place, message, "a `spec` says what is launched, at least the image");
            return None;
        }
    };
    let warm = reader.instances(node, "pool").unwrap_or_default();
    let limit = reader.limit(node, "limit", &DEFAULT_LIMIT.to_string());
    let limit = variant::raised(limit, warm, node, reader).unwrap_or(DEFAULT_LIMIT.max(warm));
    let variants = variant::read(node, section, reader);
    let tenants = tenant::read(node, section, reader);
    let own = additions::of_pool(node, name, pools, &variants, limit, section, reader);
    let mut flavors = flavors::all(Parts { pool: name, place, section, spec, warm, variants, tenants }, reader);
    for flavor in &mut flavors {
        flavor.launch.network.clone_from(&own.network);
    }
    tell_too_many(&flavors, limit, place, reader);
    Some(Pool {
        name: name.to_owned(),
        driver: type_name.to_owned(),
        site: SiteId::new(type_name),
        os: platform.os,
        arch: platform.arch,
        limit,
        flavors,
        schedules: own.schedules,
        ages: own.ages,
        fallbacks: own.fallbacks,
        imds: own.imds,
        docker_socket: own.docker_socket,
    })
}

fn platform(node: &Node, reader: &Reader<'_>) -> Platform {
    let text = |key| node.get("platform").and_then(|platform| reader.text(platform, key));
    Platform {
        os: text("os").unwrap_or_else(|| "linux".to_owned()),
        arch: text("arch").unwrap_or_else(|| "amd64".to_owned()),
        os_name: text("os_name"),
    }
}

/// Reports a platform that the agent does not run on. It runs on Linux only.
fn tell_unsupported(platform: &Platform, node: &Node, reader: &mut Reader<'_>) {
    let what = match platform.os.as_str() {
        "windows" => "Windows",
        "darwin" => "macOS",
        _ => return,
    };
    if let Some(os) = node.get("platform").and_then(|platform| platform.get("os")) {
        let message = format!("instances of {what} are not possible yet");
        let help = "leave the pool with drone-runner-aws and remove it from this file";
        reader.push(Diagnostic::unsupported("unsupported-platform", &os.location, message).help(help));
    }
}

fn tell_too_many(flavors: &[Flavor], limit: u32, place: &Location, reader: &mut Reader<'_>) {
    let warm = flavors.iter().fold(0_u32, |sum, flavor| sum.saturating_add(flavor.warm));
    if warm > limit {
        let message = format!(
            "base, variants and tenants are to keep {warm} instances ready together, but the pool's limit is {limit}"
        );
        reader.warn("limit-below-pool", place, message, "raise the pool's `limit`, or keep fewer ready");
    }
}
