//! `cargo xtask test`: all tests, built once, with a limit for each program of tests, and the totals last.
//!
//! It does the work of `cargo test --workspace`, with three differences. Test programs run side by side, except those
//! that boot VMs, which run alone. A program in which no test ends for a while is killed. Slow, failed and skipped
//! tests are listed at the end.

mod outcome;
mod process;

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::{self, Built, Kind};
pub use outcome::Outcome;
pub use process::run as run_one;

/// Time within which a test must end, or its program is killed.
const TEST_MAX: Duration = Duration::from_secs(300);
/// The same for tests on VMs, which may have to make an image first.
const VM_TEST_MAX: Duration = Duration::from_secs(900);
/// Number of the slowest programs that are listed.
const SLOWEST: usize = 8;

/// Package and program of the tests that boot VMs, which take all processors under emulation.
const ON_VMS: [(&str, &str); 4] =
    [("kiln-e2e", "examples"), ("kiln-e2e", "runner"), ("kiln-cli", "vm"), ("kiln-driver-qemu", "vm")];

const USAGE: &str = "usage: cargo xtask test [--unit | --without-vms]";

/// Runs all tests, or those that the argument selects.
pub fn run(args: &[&str]) -> Result<()> {
    let (mut programs, vms) = match args {
        [] => (build::tests()?, true),
        ["--without-vms"] => (build::tests()?, false),
        ["--unit"] => (build::unit_tests()?, false),
        _ => bail!("{USAGE}"),
    };
    programs.retain(|program| matches!(program.kind, Kind::Tests | Kind::UnitTests));
    // Tests of a whole crate take longer than those inside it. They come first, so that nothing long is left for the
    // end.
    programs.sort_by_key(|program| program.kind == Kind::UnitTests);
    let (alone, beside): (Vec<Built>, Vec<Built>) = programs.into_iter().partition(on_vms);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut outcomes = run_all(beside, cores, TEST_MAX);
    if vms {
        outcomes.extend(run_all(alone, 1, VM_TEST_MAX));
    }
    report(outcomes)
}

fn on_vms(program: &Built) -> bool {
    program.kind == Kind::Tests && ON_VMS.contains(&(program.package.as_str(), program.target.as_str()))
}

/// Runs each to its end, this many at a time.
fn run_all(programs: Vec<Built>, at_a_time: usize, test_max: Duration) -> Vec<Outcome> {
    let (queue, done) = (Mutex::new(VecDeque::from(programs)), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(program) = next() {
                    let outcome = process::run(&program, &[], test_max);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    // The lock is held, so that the lines of two programs do not mix.
                    outcome.tell();
                    done.push(outcome);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn report(mut outcomes: Vec<Outcome>) -> Result<()> {
    outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.took));
    println!("\nthe slowest:");
    for outcome in outcomes.iter().take(SLOWEST) {
        println!("{:>8.1} s  {}", outcome.took.as_secs_f64(), outcome.name);
    }
    let not_run: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.not_run).collect();
    let failures: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.failures).collect();
    for (title, lines) in [("not run:", not_run), ("failed:", failures)] {
        if !lines.is_empty() {
            println!("{title}");
        }
        for line in lines {
            println!("    {line}");
        }
    }
    let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum::<usize>();
    let (passed, failed) = (sum(|outcome| outcome.passed), sum(|outcome| outcome.failures.len()));
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        bail!("{failed} tests of {} failed", passed + failed);
    }
    Ok(())
}
