//! Reads the machine that a stage asks for. Whatever the file calls it, it becomes a request to a pool.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::Node;

use super::reader::{Defaults, Reader};
use super::tables;
use crate::expr;
use crate::plan::{Arch, Os, PoolRequest, Pull};

/// Reads `infrastructure`, `platform` and `runtime` of a stage's `spec`; `earlier` are the stages before it.
pub(super) fn pool(
    reader: &mut Reader<'_>,
    spec: &Node,
    stage: &Location,
    earlier: &[(String, PoolRequest)],
) -> PoolRequest {
    reader.defaults = Defaults::default();
    let mut pool = PoolRequest { name: None, os: Os::default(), arch: Arch::default() };
    if let Some(platform) = spec.get("platform") {
        take_platform(reader, platform, &mut pool);
    }
    let runtime = spec.get("runtime").and_then(|runtime| runtime.get("type"));
    match (spec.get("infrastructure"), runtime) {
        (Some(infrastructure), _) => take_infrastructure(reader, infrastructure, earlier, &mut pool),
        (None, Some(runtime)) => mapped(reader, &runtime.location, runtime.text().unwrap_or_default(), &pool),
        (None, None) if spec.get("platform").is_none() => {
            let message = "the stage names no infrastructure, it gets a Linux machine";
            reader.push(Diagnostic::note("no-infrastructure", stage, message));
        }
        (None, None) => {}
    }
    pool
}

fn take_platform(reader: &mut Reader<'_>, platform: &Node, pool: &mut PoolRequest) {
    take_os(reader, platform, pool);
    match reader.fixed(platform, "arch") {
        Some("Arm64") => pool.arch = Arch::Arm64,
        Some("Amd64") => pool.arch = Arch::Amd64,
        _ => {}
    }
}

fn take_os(reader: &mut Reader<'_>, node: &Node, pool: &mut PoolRequest) {
    let system = reader.fixed(node, "os");
    pool.os = match system {
        Some("MacOS") => Os::Darwin,
        Some("Windows") => Os::Windows,
        Some("Linux") => Os::Linux,
        _ => return,
    };
    if let (Os::Darwin | Os::Windows, Some(value), Some(system)) = (pool.os, node.get("os"), system) {
        let message = format!("a stage on {system} is not run yet");
        reader.push(Diagnostic::unsupported("platform", &value.location, message).help("Kiln runs `os: Linux` today"));
    }
}

fn take_infrastructure(
    reader: &mut Reader<'_>,
    node: &Node,
    earlier: &[(String, PoolRequest)],
    pool: &mut PoolRequest,
) {
    if let Some(from) = node.get("useFromStage") {
        use_from_stage(reader, from, earlier, pool);
        return;
    }
    let Some(kind) = reader.fixed(node, "type") else {
        if node.get("type").is_none() {
            reader.missing(
                node,
                &["type"],
                &node.location,
                "the infrastructure has no `type`",
                "for a pool: `type: VM`",
            );
        }
        return;
    };
    let place = node.get("type").map_or(&node.location, |kind| &kind.location);
    let spec = node.get("spec");
    match (kind, spec) {
        ("VM", Some(spec)) => take_pool(reader, spec, pool),
        ("VM" | "UseFromStage", _) => {
            let wanted = if kind == "VM" { "spec" } else { "useFromStage" };
            reader.missing(node, &[wanted], place, format!("infrastructure of type `{kind}` has no `{wanted}`"), "");
        }
        (_, Some(spec)) => {
            reader.check(spec, &tables::MACHINE);
            if let Some(platform) = spec.get("platform") {
                take_platform(reader, platform, pool);
            }
            take_os(reader, spec, pool);
            reader.defaults = defaults(reader, spec);
            mapped(reader, place, kind, pool);
        }
        (_, None) => mapped(reader, place, kind, pool),
    }
}

/// Reads what a pod says of all its containers.
fn defaults(reader: &mut Reader<'_>, spec: &Node) -> Defaults {
    let context = spec.get("containerSecurityContext").unwrap_or(spec);
    Defaults {
        pull: match reader.fixed(spec, "imagePullPolicy") {
            Some("Always") => Pull::Always,
            Some("IfNotPresent") => Pull::IfMissing,
            Some("Never") => Pull::Never,
            _ => Pull::Default,
        },
        user: reader.user(spec, "runAsUser").or_else(|| reader.user(context, "runAsUser")),
        privileged: reader.switch(context, "privileged").unwrap_or(false),
    }
}

fn take_pool(reader: &mut Reader<'_>, spec: &Node, pool: &mut PoolRequest) {
    if !reader.check(spec, &tables::VM) {
        return;
    }
    let Some(inner) = spec.get("spec") else {
        let message = "the VM infrastructure names no pool";
        reader.missing(spec, &["spec"], &spec.location, message, "`spec:` holds `poolName: ...`");
        return;
    };
    let name = ["poolName", "identifier"].into_iter().find_map(|key| reader.fixed(inner, key));
    pool.name = name.map(str::to_owned);
    let written = ["poolName", "identifier"].iter().any(|key| inner.get(key).is_some());
    if !written {
        reader.missing(inner, &["poolName", "identifier"], &inner.location, "the pool has no `poolName`", "");
    }
    take_os(reader, inner, pool);
}

fn use_from_stage(reader: &mut Reader<'_>, from: &Node, earlier: &[(String, PoolRequest)], pool: &mut PoolRequest) {
    let name = from.text().unwrap_or_default();
    if let Some((_, found)) = earlier.iter().find(|(id, _)| id == name) {
        *pool = found.clone();
        return;
    }
    if reader.uses.is_opaque_stage(name) || name.contains(expr::MARKER) {
        return;
    }
    let message = format!("`useFromStage` names `{name}`, which is no build stage before this one");
    let mut found = Diagnostic::invalid("unknown-stage", &from.location, message);
    found.help = did_you_mean(name, earlier.iter().map(|(id, _)| id.as_str()));
    reader.push(found);
}

fn mapped(reader: &mut Reader<'_>, place: &Location, kind: &str, pool: &PoolRequest) {
    if pool.os != Os::Linux {
        return;
    }
    let arch = pool.arch.word();
    let message = format!("`{kind}` infrastructure is replaced by a machine of Kiln's own: linux/{arch}");
    reader.push(Diagnostic::note("mapped-infrastructure", place, message));
}
