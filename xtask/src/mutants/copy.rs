//! A copy of the crates of the simulated world, small enough to be rebuilt in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Verdict;
use super::mutant::Mutant;
use super::sources::Sources;
use crate::cargo;

/// The crates of the simulated world.
const CRATES: [&str; 5] = ["wire", "driver", "pool", "engine", "testkit"];
/// Searches that run until a seed notices the mistake: first seed, number of seeds, and steps of each. Long lives come
/// first, then many seeds, for mistakes that few seeds meet.
const SEARCHES: [[&str; 3]; 2] = [["1000", "600", "8000"], ["2000", "4000", "2000"]];

/// The copy, and the simulation without a mistake.
pub struct Copy {
    sources: Sources,
    right: PathBuf,
}

/// The copy's own manifest of `testkit`, without dependencies for real processes.
const TESTKIT: &str = r#"[package]
name = "kiln-testkit"
version = "0.1.0"
edition = "2024"
autobins = false
[features]
real = []
[dependencies]
kiln-driver.workspace = true
kiln-engine.workspace = true
kiln-pool.workspace = true
futures.workspace = true
"#;

impl Copy {
    /// Updates the copy, and finds each mutant's text.
    pub fn prepare(mutants: &[&Mutant]) -> Result<Self> {
        let sources = Sources::named("simulated");
        let root = cargo::root();
        let text = |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
        for name in CRATES {
            for part in ["src", "assets", "examples"] {
                let path = format!("crates/{name}/{part}");
                if root.join(&path).is_dir() {
                    sources.copy(&path)?;
                }
            }
            let path = format!("crates/{name}/Cargo.toml");
            sources.write(&path, &if name == "testkit" { TESTKIT.to_owned() } else { text(&path)? })?;
        }
        sources.write("Cargo.toml", &manifest(&text("Cargo.toml")?)?)?;
        if !sources.directory.join("Cargo.lock").exists() {
            sources.copy("Cargo.lock")?;
        }
        for mutant in mutants {
            sources.check(mutant)?;
        }
        let mut copy = Self { sources, right: PathBuf::new() };
        copy.right = copy.build("right")?;
        Ok(copy)
    }

    /// Builds the simulation with the mistake, as a program of its own.
    pub fn make(&self, mutant: &Mutant, number: usize) -> Result<PathBuf> {
        self.sources.with(mutant, || self.build(&number.to_string()))
    }

    /// Builds the simulation, and keeps it under a name while others are built.
    fn build(&self, name: &str) -> Result<PathBuf> {
        let target = self.sources.directory.join("target");
        let built = cargo::command()
            .args(["build", "--quiet", "--package", "kiln-testkit", "--example", "sim"])
            .current_dir(&self.sources.directory)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-A warnings")
            .output()
            .context("cannot start cargo")?;
        if !built.status.success() {
            bail!("it does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        let kept = target.join(format!("sim-{name}"));
        fs::copy(target.join("debug/examples/sim"), &kept)
            .with_context(|| format!("cannot write {}", kept.display()))?;
        Ok(kept)
    }

    /// Runs seeds until one notices the mistake.
    pub fn simulate(&self, program: &Path) -> Result<Verdict> {
        for search in SEARCHES {
            let [_, _, steps] = search;
            let verdict = run(program, search)?;
            let Verdict::Caught { seed: Some(seed), by } = &verdict else { continue };
            if let Verdict::Caught { .. } = run(&self.right, [seed, "1", steps])? {
                bail!("seed {seed} of {steps} steps breaks `{by}` without a mistake");
            }
            return Ok(verdict);
        }
        Ok(Verdict::Survived)
    }
}

fn run(program: &Path, [first, seeds, steps]: [&str; 3]) -> Result<Verdict> {
    let ran = Command::new(program)
        .args(["--first-seed", first, "--seeds", seeds, "--steps", steps, "--first-only"])
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let breach = text.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(" breaks `"));
    match (ran.status.code(), breach) {
        (Some(0), _) => Ok(Verdict::Survived),
        (Some(1), Some((seed, rest))) => {
            let by = rest.split('`').next().unwrap_or_default().to_owned();
            Ok(Verdict::Caught { by, seed: Some(seed.to_owned()) })
        }
        _ => bail!("the simulation ended with {}:\n{}", ran.status, String::from_utf8_lossy(&ran.stderr)),
    }
}

/// Returns the manifest of the copy's workspace, with the same versions as ours.
fn manifest(ours: &str) -> Result<String> {
    let section = ours.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let dependencies: Vec<&str> = section.context("no [workspace.dependencies]")?.lines().collect();
    let dependencies: Vec<&str> = dependencies.into_iter().filter(|line| !line.starts_with("kiln-")).collect();
    let own: Vec<String> = CRATES.iter().map(|name| format!("kiln-{name} = {{ path = \"crates/{name}\" }}")).collect();
    Ok(format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n\n[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         rust-version = \"1.95\"\nlicense = \"Apache-2.0\"\n\n[workspace.lints.rust]\nunused_must_use = \"allow\"\n\n\
         [profile.dev]\nopt-level = 1\ndebug = 0\n\n[workspace.dependencies]\n{}\n{}\n",
        own.join("\n"),
        dependencies.join("\n")
    ))
}
