//! `kiln tests`: results of test reports, and shares of tests.

mod files;
mod show;
mod split;

use crate::args::tests::TestsCommand;
use crate::exit::Exit;

/// Carries the command out.
pub fn tests(command: &TestsCommand) -> anyhow::Result<Exit> {
    match command {
        TestsCommand::Show(args) => show::show(args),
        TestsCommand::Split(args) => split::split(args),
    }
}
