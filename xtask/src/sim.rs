//! `cargo xtask sim`: the simulated world over many seeds, or one scenario.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;

/// Runs it, with the arguments of the example `sim`.
pub fn run(args: &[&str]) -> Result<()> {
    let program = build::example("sim")?;
    let status = Command::new(&program).args(args).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the simulation found something ({status})");
    }
    Ok(())
}
