//! Packages that a program links, directly or indirectly.

use anyhow::Result;

use crate::cargo;

/// A crate and the packages that must not be linked into it; a trailing `*` stands for any ending.
struct Fence {
    package: &'static str,
    forbidden: &'static [&'static str],
}

/// Packages that a crate without I/O does not need.
const IMPURE: &[&str] = &["tokio", "hyper", "reqwest", "rustls", "nix", "axum"];

const FENCES: &[Fence] = &[
    // The agent goes to every VM. It has to stay small, makes no certificates, and asks services by hyper alone.
    Fence {
        package: "kiln-agent",
        forbidden: &["aws-*", "sqlx*", "rcgen", "reqwest", "clap*", "openssl-sys", "native-tls"],
    },
    // Reading a file is pure: no sockets, no tasks, no processes.
    Fence { package: "kiln-pipeline", forbidden: IMPURE },
    Fence { package: "kiln-pool-file", forbidden: IMPURE },
    // A runner is told what to run, and reads no pipelines.
    Fence { package: "kiln-runner", forbidden: &["kiln-pipeline"] },
    Fence { package: "kiln-wire", forbidden: &["tokio", "hyper", "reqwest", "rustls", "axum"] },
    // A program that embeds it brings the runner, or calls one.
    Fence { package: "kiln-executor", forbidden: &["axum*", "sqlx*", "kiln-engine", "kiln-store", "kiln-runner"] },
    // Shipped programs have one crypto provider, ring, and nothing that is for tests.
    Fence {
        package: "kiln-cli",
        forbidden: &[
            "aws-lc-*",
            "openssl-sys",
            "native-tls",
            "kiln-agent-rig",
            "kiln-driver-process",
            "kiln-corpus-runs",
            "kiln-engine-rig",
            "kiln-testkit",
            "kiln-corpus",
            "kiln-e2e",
        ],
    },
];

/// Returns the breaches, in words.
pub fn check() -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for fence in FENCES {
        let tree = cargo::output(&[
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            fence.package,
        ])?;
        breaches.extend(forbidden_in(&tree, fence).map(|name| {
            format!("{} links {name}; see why with: cargo tree -e normal -p {} -i {name}", fence.package, fence.package)
        }));
    }
    Ok(breaches)
}

/// Returns the packages in the output of `cargo tree` (`name vVERSION ...` on each line) that the fence forbids, each
/// once.
fn forbidden_in<'a>(tree: &'a str, fence: &Fence) -> impl Iterator<Item = &'a str> {
    let mut names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| fence.forbidden.iter().any(|pattern| matches(pattern, name)));
    names.into_iter()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tree: &str, expected: &[&str]) {
        let fence = Fence { package: "p", forbidden: &["aws-*", "clap"] };
        assert_eq!(forbidden_in(tree, &fence).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn finds_forbidden_packages_once() {
        check("p v0.1.0 (/src/p)\nclap v4.5.0\nserde v1.0.0\nclap v4.5.0 (*)\n", &["clap"]);
        check("p v0.1.0\naws-config v1.0.0\n", &["aws-config"]);
    }

    #[test]
    fn a_longer_name_is_another_package() {
        check("p v0.1.0\nclap_lex v1.0.0\nlaws-and v1.0.0\n", &[]);
    }
}
