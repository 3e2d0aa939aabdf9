//! A copy of the crates that the simulated world is made of, small enough to be built again in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::table::Mutant;
use crate::cargo;

/// What the simulated world is made of.
const CRATES: [&str; 4] = ["driver", "pool", "engine", "testkit"];
/// What is run until one notices: first seed, seeds, and steps of each. Long lives first; then many, for mistakes that
/// few seeds meet.
const SEARCHES: [[&str; 3]; 2] = [["1000", "600", "8000"], ["2000", "4000", "2000"]];

/// The copy, in the target directory. It stays there between runs, so that only what changed is built.
pub struct Copy {
    directory: PathBuf,
}

/// What came of a mistake.
pub enum Verdict {
    /// It was noticed.
    Caught {
        /// By what.
        invariant: String,
        /// In which seed.
        seed: String,
    },
    /// It was not.
    Survived,
}

/// The copy's own manifest of `testkit`: without what only real processes need.
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
    /// Brings the copy up to date.
    pub fn refresh() -> Result<Self> {
        let root = cargo::root();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let copy = Self { directory: target.join("mutants") };
        for name in CRATES {
            for part in ["src", "assets", "examples"] {
                copy.tree(
                    &root.join("crates").join(name).join(part),
                    &copy.directory.join("crates").join(name).join(part),
                )?;
            }
            let manifest = match name {
                "testkit" => TESTKIT.to_owned(),
                _ => read(&root.join("crates").join(name).join("Cargo.toml"))?,
            };
            write(&copy.directory.join("crates").join(name).join("Cargo.toml"), &manifest)?;
        }
        write(&copy.directory.join("Cargo.toml"), &manifest(&read(&root.join("Cargo.toml"))?)?)?;
        if !copy.directory.join("Cargo.lock").exists() {
            write(&copy.directory.join("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
        }
        Ok(copy)
    }

    fn tree(&self, from: &Path, to: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let Some(name) = path.file_name() else { continue };
            if path.is_dir() {
                self.tree(&path, &to.join(name))?;
            } else {
                write(&to.join(name), &read(&path)?)?;
            }
        }
        Ok(())
    }

    /// Whether every text that the mutant replaces stands exactly once in its file.
    pub fn check(&self, mutant: &Mutant) -> Result<()> {
        for (file, text, _) in mutant.edits {
            let found = read(&self.directory.join("crates").join(file))?.matches(text).count();
            if found != 1 {
                bail!("mistake `{}`: the text `{text}` stands {found} times in {file}, not once", mutant.name);
            }
        }
        Ok(())
    }

    /// Makes the mistake, runs seeds, and takes it back.
    pub fn run(&self, mutant: &Mutant) -> Result<Verdict> {
        let mut originals = Vec::new();
        for (file, text, with) in mutant.edits {
            let path = self.directory.join("crates").join(file);
            let original = read(&path)?;
            write(&path, &original.replacen(text, with, 1))?;
            originals.push((path, original));
        }
        let verdict = self.build().and_then(|()| self.simulate());
        for (path, original) in originals.iter().rev() {
            write(path, original)?;
        }
        verdict.with_context(|| format!("mistake `{}`", mutant.name))
    }

    fn build(&self) -> Result<()> {
        let built = Command::new(cargo::program())
            .args(["build", "--quiet", "--package", "kiln-testkit", "--example", "sim"])
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .env("RUSTFLAGS", "-A warnings")
            .output()
            .context("cannot start cargo")?;
        if !built.status.success() {
            bail!("it does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(())
    }

    fn simulate(&self) -> Result<Verdict> {
        for search in SEARCHES {
            let verdict = self.search(&search)?;
            if matches!(verdict, Verdict::Caught { .. }) {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Survived)
    }

    fn search(&self, [first, seeds, steps]: &[&str; 3]) -> Result<Verdict> {
        let program = self.directory.join("target/debug/examples/sim");
        let ran = Command::new(&program)
            .args(["--first-seed", first, "--seeds", seeds, "--steps", steps, "--first-only"])
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let text = String::from_utf8_lossy(&ran.stdout);
        let breach = text.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(" breaks `"));
        match (ran.status.code(), breach) {
            (Some(0), _) => Ok(Verdict::Survived),
            (Some(1), Some((seed, rest))) => {
                let invariant = rest.split('`').next().unwrap_or_default().to_owned();
                Ok(Verdict::Caught { invariant, seed: seed.to_owned() })
            }
            _ => bail!("the simulation ended with {}:\n{}", ran.status, String::from_utf8_lossy(&ran.stderr)),
        }
    }
}

/// The copy's workspace, with the same versions as ours.
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

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes only what differs, so that cargo builds only that again.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
