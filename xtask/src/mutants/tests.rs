//! Mistakes that tests of a crate are to notice. They are made in a copy of the whole repository, which shares the compiled
//! dependencies with the repository itself.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Verdict;
use super::mutant::Mutant;
use super::sources::Sources;
use super::suite::Suite;
use crate::test::{self, Outcome};
use crate::{build, cargo};

/// What the copy holds: all that crates and their tests read.
const COPIED: [&str; 6] = ["Cargo.toml", "Cargo.lock", "crates", "xtask", "docs", "examples"];
/// A test that takes longer has noticed: a mistake may well make one hang.
const TEST_MAX: Duration = Duration::from_secs(180);

/// The copy.
pub struct Whole {
    sources: Sources,
}

impl Whole {
    /// Brings the copy up to date, finds each mutant's text, and runs the suites, which must pass before they can be said to notice.
    pub fn prepare(mutants: &[&Mutant]) -> Result<Self> {
        let whole = Self { sources: Sources::named("whole") };
        for path in COPIED {
            whole.sources.copy(path)?;
        }
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

    /// Lets the tests inside a crate be built as if they were a file of its `tests/`. Cargo cannot build those of one crate alone
    /// with the features of the whole workspace, and with others it would compile the dependencies again.
    fn tests_inside(&self, folder: &str) -> Result<()> {
        let path = format!("crates/{folder}/Cargo.toml");
        let manifest =
            std::fs::read_to_string(cargo::root().join(&path)).with_context(|| format!("cannot read {path}"))?;
        let target = format!("\n[[test]]\nname = \"{}\"\npath = \"src/lib.rs\"\n", inside(folder));
        self.sources.write(&path, &(manifest + &target))
    }
}

fn inside(folder: &str) -> String {
    format!("inside-{folder}")
}
