//! `cargo xtask bench` and `cargo xtask chaos`: the programs of `kiln-testkit` with real processes, as a release builds them.
//!
//! ```text
//! claim      warm claims with 10, 1,000 and 10,000 warm rows, on SQLite and PostgreSQL
//! roundtrip  a whole stage with a step that does nothing
//! stages     500 stages at once on one runner
//! claims     100,000 claims by two and three runners of one PostgreSQL, and what becomes of the work of one that is killed
//! ```

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

const USAGE: &str = "usage: cargo xtask bench claim|roundtrip|stages|claims|all";
/// Claims that runners of one PostgreSQL make together.
const CLAIMS: &str = "100000";

/// The programs, all of which run each other.
const PROGRAMS: [&str; 9] =
    ["build", "--release", "-p", "kiln-testkit", "--features", "real", "--bins", "--locked", "--quiet"];

/// Measures.
pub fn bench(args: &[&str]) -> Result<()> {
    let [what] = args else { bail!("{USAGE}") };
    let all = *what == "all";
    let known = ["claim", "roundtrip", "stages", "claims"].contains(what);
    if !all && !known {
        bail!("{USAGE}");
    }
    run("cargo", &PROGRAMS)?;
    if all || *what == "claim" {
        run("kiln-bench", &["claim"])?;
        run("kiln-bench", &["claim", "--store", "postgres"])?;
    }
    if all || *what == "roundtrip" {
        run("kiln-bench", &["roundtrip"])?;
    }
    if all || *what == "stages" {
        run("kiln-bench", &["stages"])?;
    }
    if all || *what == "claims" {
        for runners in ["2", "3"] {
            let example =
                ["run", "--release", "--quiet", "-p", "kiln-store", "--features", "testing", "--example", "claims"];
            run("cargo", &[&example[..], &["--", CLAIMS, runners]].concat())?;
            run("kiln-bench", &["moved", "--runners", runners])?;
        }
    }
    Ok(())
}

/// Kills the real runner again and again; the arguments are those of `kiln-chaos`.
pub fn chaos(args: &[&str]) -> Result<()> {
    run("cargo", &PROGRAMS)?;
    run("kiln-chaos", args)
}

/// Runs cargo, or a program that it has built.
fn run(program: &str, args: &[&str]) -> Result<()> {
    let path = match program {
        "cargo" => cargo::program().into(),
        program => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cargo::root().join("target"), Into::into);
            target.join("release").join(program)
        }
    };
    let status = Command::new(&path).args(args).current_dir(cargo::root()).status();
    let status = status.with_context(|| format!("cannot start {}", path.display()))?;
    if !status.success() {
        bail!("{program} {}: {status}", args.join(" "));
    }
    Ok(())
}
