//! `cargo xtask sim`: the simulated world over many seeds, or one scenario.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kiln_testkit::sim::command::{Settings, USAGE, simulate};
use kiln_testkit::sim::scenario;

/// Runs it.
pub fn run(args: &[&str]) -> Result<()> {
    match args {
        ["--help"] => println!("usage: cargo xtask sim {USAGE}\n       cargo xtask sim --scenario FILE"),
        ["--scenario", file] => {
            let text = std::fs::read_to_string(Path::new(file)).with_context(|| format!("cannot read {file}"))?;
            let transcript = scenario::play(&text).map_err(anyhow::Error::msg).with_context(|| (*file).to_owned())?;
            print!("{transcript}");
        }
        _ => {
            let settings = Settings::from_args(args).map_err(anyhow::Error::msg)?;
            let violations = simulate(&settings);
            if violations > 0 {
                bail!("{violations} of {} seeds break an invariant", settings.seeds);
            }
        }
    }
    Ok(())
}
