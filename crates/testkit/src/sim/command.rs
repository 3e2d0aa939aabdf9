//! The command line of the simulation: many seeds, on two threads, with a reproducible report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::fault::Fault;
use super::{Outcome, Plan, run};

/// The arguments.
pub const USAGE: &str = "--first-seed A --seeds N --steps M [--jobs J] [--verbose] [--counts]";

/// Settings of a simulation.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The first seed.
    pub first_seed: u64,
    /// Number of seeds.
    pub seeds: u64,
    /// Steps with faults in each seed.
    pub steps: u64,
    /// Number of threads.
    pub jobs: u64,
    /// Whether whole transcripts are printed.
    pub verbose: bool,
    /// Whether the number of each kind of event is printed.
    pub counts: bool,
    /// Whether it stops at the first violation.
    pub first_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { first_seed: 1, seeds: 200, steps: 2_000, jobs: 2, verbose: false, counts: false, first_only: false }
    }
}

impl Settings {
    /// Reads arguments.
    ///
    /// # Errors
    /// Says which argument is not valid.
    pub fn from_args(args: &[&str]) -> Result<Self, String> {
        let mut settings = Self::default();
        let mut args = args.iter();
        while let Some(name) = args.next() {
            match *name {
                "--verbose" => settings.verbose = true,
                "--counts" => settings.counts = true,
                "--first-only" => settings.first_only = true,
                "--first-seed" | "--seeds" | "--steps" | "--jobs" => {
                    let value = args.next().and_then(|value| value.parse().ok());
                    let value: u64 = value.ok_or_else(|| format!("{name} needs a number"))?;
                    match *name {
                        "--first-seed" => settings.first_seed = value,
                        "--seeds" => settings.seeds = value,
                        "--steps" => settings.steps = value,
                        _ => settings.jobs = value.max(1),
                    }
                }
                other => return Err(format!("`{other}` is not known; there are: {USAGE}")),
            }
        }
        Ok(settings)
    }
}

/// Runs the seeds, reports on standard output, and returns how many of them broke an invariant.
#[must_use]
pub fn simulate(settings: &Settings) -> u64 {
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let totals: Mutex<Totals> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.min(settings.seeds) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= settings.seeds || settings.first_only && failed.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                    let seed = settings.first_seed + index;
                    let outcome = run(&Plan { seed, steps: settings.steps, verbose: settings.verbose });
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    totals.add(&outcome);
                    if outcome.violation.is_some() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        report(&outcome);
                    } else if settings.verbose {
                        println!("{}", outcome.lines.join("\n"));
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    if settings.counts {
        totals.print();
    }
    let failed = failed.into_inner();
    println!(
        "{} s; {} decisions, {} virtual minutes with faults, {} in all",
        began.elapsed().as_secs(),
        totals.decisions,
        totals.with_faults_ms / 60_000,
        totals.passed_ms / 60_000
    );
    println!("seeds={} steps={} violations={failed}", settings.seeds, settings.steps);
    failed
}

/// Prints a violation, and how to reproduce it.
fn report(outcome: &Outcome) {
    let Some(violation) = &outcome.violation else { return };
    println!("seed {} breaks `{}`: {}", outcome.seed, violation.invariant, violation.what);
    for line in &outcome.lines {
        println!("  {line}");
    }
    println!("again: cargo xtask sim --first-seed {} --seeds 1 --steps {}\n", outcome.seed, outcome.at_step);
}

#[derive(Default)]
struct Totals {
    decisions: u64,
    with_faults_ms: i64,
    passed_ms: i64,
    counts: BTreeMap<&'static str, u64>,
    struck: BTreeMap<Fault, u64>,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.decisions += outcome.decisions;
        self.with_faults_ms += outcome.passed_ms.0;
        self.passed_ms += outcome.passed_ms.1;
        for (what, count) in &outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (fault, count) in &outcome.struck {
            *self.struck.entry(*fault).or_default() += count;
        }
    }

    fn print(&self) {
        for (what, count) in &self.counts {
            println!("{count:>9} {what}");
        }
        for fault in Fault::ALL {
            println!("{:>9} fault {}", self.struck.get(fault).unwrap_or(&0), fault.name());
        }
    }
}
