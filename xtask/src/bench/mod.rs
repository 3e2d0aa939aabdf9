//! `cargo xtask bench` and `cargo xtask chaos`: the programs of `kiln-testkit` with real processes, as a release builds them.
//!
//! ```text
//! build      only builds the programs
//! claim      warm claims with 10, 1,000 and 10,000 warm rows, on SQLite and PostgreSQL
//! roundtrip  a whole stage with a step that does nothing
//! queue      how long a ready instance waits for its stage's caller, with 100 stages that wait and a slow site
//! burst      many stages at once on few agents, on none, and at a steady pace
//! stages     500 stages at once on one runner
//! claims     100,000 claims by two and three runners of one PostgreSQL, and what becomes of the work of one that is killed
//! agent      a step's start, fifty at once, output, logs, masking and memory of the agent, beside what the machine itself needs for the same,
//!            and steps in containers beside `docker run`; further arguments name parts of that. The static agent of tools/build is measured where there is one
//! warm       /setup and the first step on warm local VMs; further arguments name other builds of `kiln` to compare with
//! ```

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

const USAGE: &str = "usage: cargo xtask bench build|claim|roundtrip|queue|burst|stages|claims|all
       cargo xtask bench agent [start|many|output|logs|masking|memory|container]...
       cargo xtask bench warm [KILN...]   # needs tools/build and tools/image; other builds of kiln go before this one";
/// Claims that the runners of one PostgreSQL make together.
const CLAIMS: &str = "100000";

/// Arguments that build the programs, all of which run each other. `kiln-cli` is among the packages although its
/// program is not built here: cargo enables the union of the features of all named packages. With the features of these
/// programs alone it would compile nearly all dependencies again, in addition to those of `tools/build`.
const BUILD: [&str; 7] = ["build", "--release", "--locked", "-p", "kiln-cli", "-p", "kiln-testkit"];
const PROGRAMS: [&str; 4] = ["kiln-bench", "kiln-claims", "kiln-chaos", "kiln-test-runner"];

/// Runs benchmarks.
pub fn bench(args: &[&str]) -> Result<()> {
    if let ["warm", others @ ..] = args {
        return warm(others);
    }
    if let ["agent", parts @ ..] = args {
        return agent(parts);
    }
    let [what] = args else { bail!("{USAGE}") };
    let all = *what == "all";
    let known = ["build", "claim", "roundtrip", "queue", "burst", "stages", "claims"].contains(what);
    if !all && !known {
        bail!("{USAGE}");
    }
    build()?;
    if all || *what == "claim" {
        run("kiln-bench", &["claim"])?;
        run("kiln-bench", &["claim", "--store", "postgres"])?;
    }
    if all || *what == "roundtrip" {
        run("kiln-bench", &["roundtrip"])?;
    }
    for alone in ["queue", "burst", "stages"] {
        if all || *what == alone {
            run("kiln-bench", &[alone])?;
        }
    }
    if all || *what == "claims" {
        for runners in ["2", "3"] {
            run("kiln-claims", &[CLAIMS, runners])?;
            run("kiln-bench", &["moved", "--runners", runners])?;
        }
    }
    if all {
        agent(&[])?;
    }
    Ok(())
}

/// Measures the program that `tools/build` made, and other builds before it, so that it is compared with the first of
/// them. It is not part of `all`: it needs an image, and minutes for a golden VM of each program.
fn warm(others: &[&str]) -> Result<()> {
    build()?;
    let ours = cargo::target().join("release/kiln");
    let programs: Vec<&str> = others.iter().copied().chain(ours.to_str()).collect();
    run("kiln-bench", &["warm", "--kiln", &programs.join(",")])
}

/// Measures the agent alone.
fn agent(parts: &[&str]) -> Result<()> {
    let arguments = ["bench", "--locked", "-p", "kiln-agent", "--bench", "agent", "--"];
    let mut command = cargo::command();
    command.args(arguments.iter().chain(parts)).current_dir(cargo::root());
    let built = static_agent();
    if let Some(built) = &built {
        command.env("KILN_AGENT_PROGRAM", built);
    }
    let status = command.status().context("cannot start cargo")?;
    if let Some(built) = &built {
        // For a benchmark, cargo also builds the programs of its package, and puts the dynamic agent in the place where
        // `kiln` looks for its own.
        let beside = cargo::target().join("release/kiln-agent");
        std::fs::remove_file(&beside).or_else(absent)?;
        std::fs::copy(built, &beside).with_context(|| format!("cannot put {} back", beside.display()))?;
    }
    if !status.success() {
        bail!("the benchmark of the agent: {status}");
    }
    Ok(())
}

/// Returns the latest static agent, from the folder where cargo puts it for `tools/build`.
fn static_agent() -> Option<PathBuf> {
    let targets = std::fs::read_dir(cargo::target()).ok()?.flatten();
    let built = targets.map(|target| target.path().join("agent/kiln-agent"));
    built.filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).max().map(|(_, path)| path)
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Kills the real runner again and again. The arguments are those of `kiln-chaos`.
pub fn chaos(args: &[&str]) -> Result<()> {
    build()?;
    run("kiln-chaos", args)
}

fn build() -> Result<()> {
    let programs = PROGRAMS.iter().flat_map(|name| ["--bin", name]);
    run("cargo", &BUILD.into_iter().chain(programs).collect::<Vec<_>>())
}

/// Runs cargo or a program that it has built.
fn run(program: &str, args: &[&str]) -> Result<()> {
    let mut command = match program {
        "cargo" => cargo::command(),
        program => Command::new(cargo::target().join("release").join(program)),
    };
    let status = command.args(args).current_dir(cargo::root()).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} {}: {status}", args.join(" "));
    }
    Ok(())
}
