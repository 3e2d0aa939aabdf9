//! `cargo xtask mutants`: whether the simulated world would notice mistakes. Each of a table of mistakes is made in a copy of
//! the engine, and seeds are run until one breaks an invariant.

mod copy;
mod table;

use std::time::Instant;

use anyhow::{Result, bail};

use copy::{Copy, Verdict};
use table::{MUTANTS, Mutant};

/// Runs those whose names contain one of the words, or all.
pub fn run(words: &[&str]) -> Result<()> {
    let chosen: Vec<&Mutant> =
        MUTANTS.iter().filter(|m| words.is_empty() || words.iter().any(|word| m.name.contains(word))).collect();
    let copy = Copy::refresh()?;
    for mutant in &chosen {
        copy.check(mutant)?;
    }
    let mut caught = 0;
    println!("{:<52} {:<26} {:>6} {:>5}", "mistake", "noticed by", "seed", "s");
    for mutant in &chosen {
        let began = Instant::now();
        let verdict = copy.run(mutant)?;
        let (by, seed) = match &verdict {
            Verdict::Caught { invariant, seed } => (invariant.as_str(), seed.as_str()),
            Verdict::Survived => ("NOBODY", "-"),
        };
        caught += usize::from(matches!(verdict, Verdict::Caught { .. }));
        println!("{:<52} {by:<26} {seed:>6} {:>5}", mutant.name, began.elapsed().as_secs());
    }
    println!("mutants={} caught={caught}", chosen.len());
    if caught < chosen.len() {
        bail!("{} mistakes went unnoticed", chosen.len() - caught);
    }
    Ok(())
}
