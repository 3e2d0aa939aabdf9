//! `cargo xtask mutants`: checks that mistakes would be noticed. Each mistake of two tables is made in a copy of the
//! sources, and its suite is run, which must fail: seeds of the simulated world, or tests of a crate.

mod copy;
mod crates;
mod mutant;
mod sources;
mod suite;
mod table;
mod tests;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};

use copy::Copy;
use mutant::Mutant;
use suite::Suite;
use tests::Whole;

/// The result of a mistake.
enum Verdict {
    /// The mistake was noticed.
    Caught {
        /// The invariant or test that noticed it.
        by: String,
        /// The seed, in the simulated world.
        seed: Option<String>,
    },
    /// The mistake was not noticed.
    Survived,
}

/// Runs the mutants whose name or suite contains one of the words, or all.
pub fn run(words: &[&str]) -> Result<()> {
    let all = table::MUTANTS.iter().chain(crates::MUTANTS);
    let chosen = all.filter(|m| {
        words.is_empty() || words.iter().any(|word| m.name.contains(word) || m.suite.to_string().contains(word))
    });
    let (simulated, tested): (Vec<&Mutant>, Vec<&Mutant>) = chosen.partition(|m| m.suite == Suite::Simulation);
    if simulated.is_empty() && tested.is_empty() {
        bail!("no mistake and no suite is called {}", words.join(" or "));
    }
    println!("{:<52} {:<44} {:>6} {:>5}", "mistake", "noticed by", "seed", "s");
    let mut caught = 0;
    if !simulated.is_empty() {
        caught += run_simulated(&simulated)?;
    }
    if !tested.is_empty() {
        let whole = Whole::prepare(&tested)?;
        for mutant in &tested {
            let began = Instant::now();
            caught += tell(mutant, &whole.run(mutant)?, began);
        }
    }
    let mutants = simulated.len() + tested.len();
    println!("mutants={mutants} caught={caught} outside_the_simulation={}", tested.len());
    if caught < mutants {
        bail!("{} mistakes went unnoticed", mutants - caught);
    }
    Ok(())
}

/// Runs the simulated mutants. The next one is built while seeds of the last one run. Returns how many were noticed.
fn run_simulated(mutants: &[&Mutant]) -> Result<usize> {
    let copy = Copy::prepare(mutants)?;
    let mut caught = 0;
    std::thread::scope(|scope| {
        let copy = &copy;
        let search = |(program, began): (PathBuf, Instant)| {
            scope.spawn(move || copy.simulate(&program).map(|verdict| (verdict, began)))
        };
        let mut running = None;
        for number in 0..=mutants.len() {
            let began = Instant::now();
            let built = mutants.get(number).map(|mutant| copy.make(mutant, number % 2)).transpose();
            if let Some((mutant, search)) = running.take() {
                let search: std::thread::ScopedJoinHandle<'_, Result<(Verdict, Instant)>> = search;
                let Ok(done) = search.join() else { bail!("a search of seeds panicked") };
                let (verdict, began) = done?;
                caught += tell(mutant, &verdict, began);
            }
            running = built?.map(|program| (mutants[number], search((program, began))));
        }
        Ok(caught)
    })
}

/// Prints a line. Returns 1 if the mistake was noticed.
fn tell(mutant: &Mutant, verdict: &Verdict, began: Instant) -> usize {
    let (by, seed) = match verdict {
        Verdict::Caught { by, seed } => (by.as_str(), seed.as_deref().unwrap_or("-")),
        Verdict::Survived => ("NOBODY", "-"),
    };
    println!("{:<52} {by:<44} {seed:>6} {:>5}", mutant.name, began.elapsed().as_secs());
    usize::from(matches!(verdict, Verdict::Caught { .. }))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_text_that_a_mutant_replaces_stands_once() {
        let here = sources::Sources { directory: crate::cargo::root() };
        let all = table::MUTANTS.iter().chain(crates::MUTANTS);
        let moved: Vec<String> = all.filter_map(|m| here.check(m).err()).map(|error| error.to_string()).collect();
        assert!(moved.is_empty(), "{}", moved.join("\n"));
    }
}
