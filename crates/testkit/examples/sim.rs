//! The simulation without the rest of the repository's chores: what the mutation check builds and runs.

use std::process::ExitCode;

use kiln_testkit::sim::command::{Settings, simulate};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match Settings::from_args(&args) {
        Ok(settings) if simulate(&settings) == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
