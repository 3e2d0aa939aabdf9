//! Chores of this repository, each a subcommand of `cargo xtask`.

mod cargo;
mod fences;
mod generate;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND
  fences              check what each crate may link, name and contain
  generate [--check]  write the generated files of docs/, or only check that they are up to date";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["fences"] => fences::run(),
        ["generate"] => generate::run(generate::Mode::Write),
        ["generate", "--check"] => generate::run(generate::Mode::Check),
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
