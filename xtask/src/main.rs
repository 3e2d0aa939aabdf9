//! Chores of this repository, each a subcommand of `cargo xtask`.

mod bench;
mod build;
mod cargo;
mod fences;
mod generate;
mod mutants;
mod sim;
mod supply;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND
  fences              check what each crate may link, name and contain
  supply              check licences, names and sources of the crates of others
  generate [--check]  write the generated files, or only check that they are up to date
  test [--unit | --without-vms]
                      run all tests, those inside the crates, or all but those on VMs
  sim [ARGS]          run the simulated world; `sim --help` tells the arguments
  mutants [NAME]      check that the simulated world and the tests notice mistakes
  bench WHAT          measure the runner: claim, roundtrip, stages, claims or all; warm VMs: warm; or only build
  chaos [ARGS]        kill the real runner again and again; `chaos --help` tells the arguments";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["fences"] => fences::run(),
        ["supply"] => supply::run(),
        ["generate"] => generate::run(generate::Mode::Write),
        ["generate", "--check"] => generate::run(generate::Mode::Check),
        ["test", rest @ ..] => test::run(rest),
        ["sim", rest @ ..] => sim::run(rest),
        ["mutants", rest @ ..] => mutants::run(rest),
        ["bench", rest @ ..] => bench::bench(rest),
        ["chaos", rest @ ..] => bench::chaos(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
