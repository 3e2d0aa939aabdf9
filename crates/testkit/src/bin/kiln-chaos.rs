//! Kills the real runner again and again and prints the result in one line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use kiln_testkit::chaos::{self, Plan};

const USAGE: &str = "\
Usage: kiln-chaos [--on process|qemu] [--kills N] [--seed S] [--keep DIR]
  process  agents as processes of this machine, by kiln-test-runner
  qemu     local VMs, by the program kiln beside this one, with this user's image";

/// The owner of the VMs.
const VM_OWNER: &str = "chaos";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut on, mut kills, mut seed, mut keep) = ("process".to_owned(), 200, 1, None::<PathBuf>);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("on") => on = parser.value()?.string()?,
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
    let program = |name: &str| std::env::current_exe().map(|own| own.with_file_name(name));
    let plan = match on.as_str() {
        "process" => Plan::on_processes(dir, &program("kiln-test-runner")?, kills, seed)?,
        "qemu" => Plan::on_vms(dir, &program("kiln")?, VM_OWNER, kills, seed)?,
        other => anyhow::bail!("--on {other}: process or qemu\n{USAGE}"),
    };
    let tally = chaos::run(plan).await?;
    for bad in tally.lost.iter().chain(&tally.leaked) {
        eprintln!("{bad}");
    }
    println!("{}", tally.line());
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
