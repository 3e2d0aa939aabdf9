//! Kills the real runner again and again and prints what came of it in one line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use kiln_testkit::chaos::{self, Plan};

const USAGE: &str = "Usage: kiln-chaos [--kills N] [--seed S] [--keep DIR]";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut kills, mut seed, mut keep) = (200, 1, None::<PathBuf>);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("kills") => kills = parser.value()?.parse()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Long("keep") => keep = Some(parser.value()?.into()),
            Long("help") => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let made = tempfile::tempdir().context("no directory")?;
    let dir: &Path = keep.as_deref().unwrap_or(made.path());
    let runner = std::env::current_exe()?.with_file_name("kiln-test-runner");
    let tally = chaos::run(Plan::on_processes(dir, &runner, kills, seed)?).await?;
    for bad in tally.lost.iter().chain(&tally.leaked) {
        eprintln!("{bad}");
    }
    println!("{}", tally.line());
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
