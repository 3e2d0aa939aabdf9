//! Allowed dependencies between our crates. A new edge is a design decision: it is drawn in `ARCHITECTURE.md` first.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

/// A crate and its allowed dependencies among our crates.
const EDGES: &[(&str, &[&str])] = &[
    ("kiln-wire", &[]),
    ("kiln-tls", &[]),
    ("kiln-document", &[]),
    ("kiln-corpus", &[]),
    ("kiln-pipeline", &["kiln-document"]),
    ("kiln-driver", &["kiln-pool", "kiln-wire"]),
    ("kiln-pool", &["kiln-wire"]),
    ("kiln-pool-file", &["kiln-document", "kiln-pool"]),
    ("kiln-engine", &["kiln-driver", "kiln-pool"]),
    ("kiln-store", &["kiln-engine", "kiln-pool", "kiln-wire"]),
    ("kiln-mask", &["kiln-wire"]),
    ("kiln-test-report", &["kiln-mask", "kiln-wire"]),
    ("kiln-cache", &["kiln-tls", "kiln-wire"]),
    ("kiln-agent", &["kiln-mask", "kiln-tls", "kiln-wire"]),
    // This one is for tests.
    ("kiln-agent-rig", &["kiln-agent", "kiln-tls", "kiln-wire"]),
    ("kiln-engine-rig", &[]),
    (
        "kiln-corpus-runs",
        &[
            "kiln-agent-client",
            "kiln-agent-rig",
            "kiln-corpus",
            "kiln-document",
            "kiln-engine-rig",
            "kiln-executor",
            "kiln-mask",
            "kiln-pipeline",
            "kiln-wire",
        ],
    ),
    ("kiln-agent-client", &["kiln-tls", "kiln-wire"]),
    // It shares no message with the agents that it tests, so that it sees the names that they really use.
    ("kiln-agent-conformance", &["kiln-tls"]),
    ("kiln-runner-client", &["kiln-agent-client", "kiln-wire"]),
    (
        "kiln-runner",
        &[
            "kiln-agent-client",
            "kiln-driver",
            "kiln-engine",
            "kiln-pool",
            "kiln-pool-file",
            "kiln-store",
            "kiln-tls",
            "kiln-wire",
        ],
    ),
    (
        "kiln-driver-qemu",
        &["kiln-agent-client", "kiln-document", "kiln-driver", "kiln-pool", "kiln-pool-file", "kiln-tls", "kiln-wire"],
    ),
    // This is the example of a driver, for tests.
    ("kiln-driver-process", &["kiln-document", "kiln-driver", "kiln-pool", "kiln-pool-file", "kiln-tls"]),
    (
        "kiln-executor",
        &[
            "kiln-agent-client",
            "kiln-cache",
            "kiln-mask",
            "kiln-pipeline",
            "kiln-runner-client",
            "kiln-test-report",
            "kiln-wire",
        ],
    ),
    (
        "kiln-cli",
        &[
            "kiln-agent-client",
            "kiln-cache",
            "kiln-document",
            "kiln-driver",
            "kiln-driver-qemu",
            "kiln-engine",
            "kiln-executor",
            "kiln-mask",
            "kiln-pipeline",
            "kiln-pool",
            "kiln-pool-file",
            "kiln-runner",
            "kiln-runner-client",
            "kiln-test-report",
            "kiln-tls",
            "kiln-wire",
        ],
    ),
    ("kiln-e2e", &[]),
    (
        "kiln-testkit",
        &[
            "kiln-agent-client",
            "kiln-driver",
            "kiln-driver-process",
            "kiln-engine",
            "kiln-pool",
            "kiln-pool-file",
            "kiln-runner",
            "kiln-runner-client",
            "kiln-store",
            "kiln-tls",
            "kiln-wire",
        ],
    ),
    ("xtask", &[]),
];

/// The crates of others that `wire` may use. It is data, and is used everywhere.
const WIRE_MAY_USE: &[&str] = &["serde", "serde_json"];

/// Returns the breaches, in words.
pub fn check() -> Result<Vec<String>> {
    let metadata = cargo::output(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?;
    breaches_of(&serde_json::from_str(&metadata).context("cargo metadata is not JSON")?)
}

fn breaches_of(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some((_, allowed)) = EDGES.iter().find(|(of, _)| *of == name) else {
            breaches.push(format!("{name} is not drawn: add it to ARCHITECTURE.md and to xtask/src/fences/edges.rs"));
            continue;
        };
        for used in dependencies(package) {
            if used.starts_with("kiln-") && !allowed.contains(&used) {
                breaches.push(format!("{name} may not depend on {used}"));
            }
            if name == "kiln-wire" && !WIRE_MAY_USE.contains(&used) {
                breaches.push(format!("kiln-wire may not depend on {used}: it holds data, without behaviour"));
            }
        }
    }
    Ok(breaches)
}

/// Returns the names of a package's dependencies, except those for its tests only.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|d| d["kind"].as_str() != Some("dev")).filter_map(|d| d["name"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(package: &str, dependency: &str, kind: Option<&str>, expected: &[&str]) {
        let metadata = serde_json::json!({"packages": [
            {"name": package, "dependencies": [{"name": dependency, "kind": kind}]}
        ]});
        assert_eq!(breaches_of(&metadata).expect("well-formed metadata"), expected);
    }

    #[test]
    fn a_drawn_edge_holds() {
        check("kiln-agent", "kiln-tls", None, &[]);
        check("kiln-agent", "tokio", None, &[]);
    }

    #[test]
    fn an_edge_that_is_not_drawn_is_a_breach() {
        check("kiln-pipeline", "kiln-driver", None, &["kiln-pipeline may not depend on kiln-driver"]);
    }

    #[test]
    fn tests_may_use_more() {
        check("kiln-pipeline", "kiln-driver", Some("dev"), &[]);
    }

    #[test]
    fn wire_holds_only_data() {
        check("kiln-wire", "tokio", None, &["kiln-wire may not depend on tokio: it holds data, without behaviour"]);
    }
}
