//! Builds tests and programs with cargo, all with the same features, so that nothing is compiled twice, and finds the
//! results.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// Cargo derives the features of dependencies from the named packages. Builds with this argument share them.
const WHOLE: &str = "--workspace";

/// Programs with tests inside. The others are not built as tests, which would take long; their manifests say so.
const PROGRAMS_WITH_TESTS: [&str; 2] = ["kiln", "xtask"];

/// The kind of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The unit tests of a library or a program.
    UnitTests,
    /// A file of `tests/`.
    Tests,
    /// A program.
    Program,
    /// An example.
    Example,
}

/// An executable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The package's name.
    pub package: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// The target's name, as in `--test NAME`.
    pub target: String,
    /// Its kind.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
}

/// Builds all tests, with the programs and examples that they need.
///
/// # Errors
/// When cargo fails. It has printed the reason on standard error.
pub fn tests() -> Result<Vec<Built>> {
    build(&cargo::root(), &["test", "--no-run"])
}

/// Builds the tests inside the crates, and nothing else.
///
/// # Errors
/// When cargo fails.
pub fn unit_tests() -> Result<Vec<Built>> {
    let programs = PROGRAMS_WITH_TESTS.iter().flat_map(|name| ["--bin", name]);
    build(&cargo::root(), &["test", "--no-run", "--lib"].into_iter().chain(programs).collect::<Vec<_>>())
}

/// Builds one example.
///
/// # Errors
/// When cargo fails.
pub fn example(name: &str) -> Result<PathBuf> {
    find(&build(&cargo::root(), &["build", "--quiet", "--example", name])?, Kind::Example, name)
}

/// Builds one program and one example. There is no such function for a program alone: without an example, cargo leaves
/// out the features that only tests need, and compiles the dependencies again.
///
/// # Errors
/// When cargo fails.
pub fn program_and_example(program: &str, example: &str) -> Result<(PathBuf, PathBuf)> {
    let built = build(&cargo::root(), &["build", "--quiet", "--bin", program, "--example", example])?;
    Ok((find(&built, Kind::Program, program)?, find(&built, Kind::Example, example)?))
}

fn find(built: &[Built], kind: Kind, target: &str) -> Result<PathBuf> {
    let found = built.iter().find(|b| b.kind == kind && b.target == target);
    Ok(found.with_context(|| format!("cargo has not built {target}"))?.path.clone())
}

/// Builds a file of `tests/` from a copy of the repository.
///
/// # Errors
/// When it does not build, with the compiler's messages.
pub fn test_of_copy(root: &Path, program: &str) -> Result<Built> {
    let built = build(root, &["test", "--quiet", "--no-run", "--test", program])?;
    built.into_iter().find(|b| b.kind == Kind::Tests).with_context(|| format!("cargo has not built {program}"))
}

/// Builds in the development profile, always into our own target directory.
fn build(root: &Path, args: &[&str]) -> Result<Vec<Built>> {
    let mut command = cargo::command();
    command
        .args(args)
        .arg(WHOLE)
        .args(["--locked", "--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", cargo::target())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let mut built = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let message = serde_json::from_str(&line?).context("cargo's message is not JSON")?;
            built.extend(built_by(&message));
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed ({status})", args.join(" "));
    }
    Ok(built)
}

/// Returns the result that a message of cargo reports, if it can be run.
fn built_by(message: &Value) -> Option<Built> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let target = &message["target"];
    let kind = match (target["kind"][0].as_str()?, message["profile"]["test"].as_bool()?) {
        ("test", _) => Kind::Tests,
        (_, true) => Kind::UnitTests,
        ("bin", false) => Kind::Program,
        ("example", false) => Kind::Example,
        // This is a build script.
        _ => return None,
    };
    Some(Built {
        package: package(message["package_id"].as_str()?)?.to_owned(),
        folder: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        target: target["name"].as_str()?.to_owned(),
        kind,
        path,
    })
}

/// Returns the name in an id: `path+file:///src/crates/agent#kiln-agent@0.1.0`, or `path+file:///src/xtask#0.1.0` where
/// the folder has the package's name.
fn package(id: &str) -> Option<&str> {
    let (url, fragment) = id.split_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, kind: &str, test: bool, expected: Option<(&str, Kind)>) {
        let message = serde_json::json!({
            "reason": "compiler-artifact", "package_id": id, "manifest_path": "/src/crates/agent/Cargo.toml",
            "target": {"kind": [kind], "name": "steps"}, "profile": {"test": test}, "executable": "/target/steps-1"
        });
        let built = built_by(&message);
        assert_eq!(built.as_ref().map(|b| (b.package.as_str(), b.kind)), expected);
        assert!(built.is_none_or(|b| b.folder == Path::new("/src/crates/agent") && b.target == "steps"));
    }

    const ID: &str = "path+file:///src/crates/agent#kiln-agent@0.1.0";

    #[test]
    fn tells_tests_from_programs() {
        check(ID, "test", true, Some(("kiln-agent", Kind::Tests)));
        check(ID, "lib", true, Some(("kiln-agent", Kind::UnitTests)));
        check(ID, "bin", true, Some(("kiln-agent", Kind::UnitTests)));
        check(ID, "bin", false, Some(("kiln-agent", Kind::Program)));
        check(ID, "example", false, Some(("kiln-agent", Kind::Example)));
        check(ID, "custom-build", false, None);
    }

    #[test]
    fn a_folder_may_have_the_name_of_the_package() {
        check("path+file:///src/xtask#0.1.0", "bin", true, Some(("xtask", Kind::UnitTests)));
    }

    #[test]
    fn a_library_cannot_be_run() {
        assert_eq!(built_by(&serde_json::json!({"reason": "compiler-artifact", "executable": null})), None);
        assert_eq!(built_by(&serde_json::json!({"reason": "build-finished"})), None);
    }
}
