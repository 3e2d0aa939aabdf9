//! Mistakes that a crate's tests must notice. They are made in a copy of the whole repository, which shares only the
//! compiled dependencies with the repository itself. Cargo distinguishes crates by their place below their workspace,
//! so the copy's workspace begins one folder further up. In the same place cargo would confuse them, and a build of the
//! repository would use crates that were built from the copy.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Verdict;
use super::mutant::Mutant;
use super::sources::Sources;
use super::suite::Suite;
use crate::test::{self, Outcome};
use crate::{build, cargo};

/// The copy's folder, and its name in the manifest of its workspace.
const COPY: &str = "repository";
/// The content of the copy: all that crates and their tests read.
const COPIED: [&str; 4] = ["crates", "xtask", "docs", "examples"];
/// Time after which a test has noticed the mistake, because a mistake may well make one hang.
const TEST_MAX: Duration = Duration::from_secs(180);

/// The copy.
pub struct Whole {
    sources: Sources,
}

impl Whole {
    /// Updates the copy, finds each mutant's text, and runs the suites, which must pass without a mistake.
    pub fn prepare(mutants: &[&Mutant]) -> Result<Self> {
        let whole = Self { sources: Sources::named(COPY) };
        for path in COPIED {
            whole.sources.copy(path)?;
        }
        whole.workspace()?;
        for folder in mutants.iter().filter_map(|mutant| mutant.suite.of_crate()).collect::<BTreeSet<_>>() {
            whole.tests_inside(folder)?;
        }
        for mutant in mutants {
            whole.sources.check(mutant)?;
        }
        for suite in mutants.iter().map(|mutant| mutant.suite).collect::<BTreeSet<_>>() {
            let outcome = whole.run_suite(suite)?;
            if !outcome.failures.is_empty() || outcome.passed == 0 {
                outcome.tell();
                bail!("`{suite}` does not pass without a mistake");
            }
        }
        Ok(whole)
    }

    /// Writes the manifest of the copy's workspace, with the same versions as ours, into the folder that contains the
    /// copy.
    fn workspace(&self) -> Result<()> {
        let text = |name: &str| {
            std::fs::read_to_string(cargo::root().join(name)).with_context(|| format!("cannot read {name}"))
        };
        self.sources.write("../Cargo.toml", &below(COPY, &text("Cargo.toml")?))?;
        self.sources.write("../Cargo.lock", &text("Cargo.lock")?)?;
        Ok(())
    }

    /// Makes the mistake and runs its suite.
    pub fn run(&self, mutant: &Mutant) -> Result<Verdict> {
        let outcome = self.sources.with(mutant, || self.run_suite(mutant.suite))?;
        Ok(match outcome.failures.into_iter().next() {
            Some(failure) => Verdict::Caught { by: failure, seed: None },
            None => Verdict::Survived,
        })
    }

    fn run_suite(&self, suite: Suite) -> Result<Outcome> {
        let (program, word) = match suite {
            Suite::Tests { program, word } => (program.to_owned(), word),
            Suite::Unit { of, word } => (inside(of), word),
            Suite::Simulation => bail!("the simulated world has a copy of its own"),
        };
        let words: &[&str] = if word.is_empty() { &[] } else { &[word] };
        Ok(test::run_one(&build::test_of_copy(&self.sources.directory, &program)?, words, TEST_MAX))
    }

    /// Lets the tests inside a crate be built as if they were a file of its `tests/`. Cargo cannot build those of one
    /// crate alone with the features of the whole workspace, and with other features it would compile the dependencies
    /// again.
    fn tests_inside(&self, folder: &str) -> Result<()> {
        let path = format!("crates/{folder}/Cargo.toml");
        let manifest =
            std::fs::read_to_string(cargo::root().join(&path)).with_context(|| format!("cannot read {path}"))?;
        let target = format!("\n[[test]]\nname = \"{}\"\npath = \"src/lib.rs\"\n", inside(folder));
        self.sources.write(&path, &(manifest + &target))
    }
}

/// Moves the members of a workspace into a folder.
fn below(folder: &str, manifest: &str) -> String {
    ["crates/", "xtask\""]
        .iter()
        .fold(manifest.to_owned(), |text, member| text.replace(&format!("\"{member}"), &format!("\"{folder}/{member}")))
}

fn inside(folder: &str) -> String {
    format!("inside-{folder}")
}

#[cfg(test)]
mod moving {
    use super::below;

    /// Only the members' places change: a package keeps its name.
    #[test]
    fn members_move_into_the_folder() {
        let manifest =
            "members = [\"crates/*\", \"xtask\"]\nkiln-wire = { path = \"crates/wire\" }\nname = \"kiln-wire\"\n";
        let moved = "members = [\"whole/crates/*\", \"whole/xtask\"]\nkiln-wire = { path = \"whole/crates/wire\" }\nname = \"kiln-wire\"\n";
        assert_eq!(below("whole", manifest), moved);
    }
}
