//! The simulated world over many seeds, or one scenario; `cargo xtask sim` runs it.

use std::process::ExitCode;

use kiln_testkit::sim::command::{Settings, USAGE, simulate};
use kiln_testkit::sim::scenario;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Runs it, and returns the number of seeds that broke an invariant.
fn run(args: &[&str]) -> Result<u64, String> {
    match args {
        ["--help"] => println!("usage: cargo xtask sim {USAGE}\n       cargo xtask sim --scenario FILE"),
        ["--scenario", file] => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            print!("{}", scenario::play(&text).map_err(|error| format!("{file}: {error}"))?);
        }
        _ => return Ok(simulate(&Settings::from_args(args)?)),
    }
    Ok(0)
}
