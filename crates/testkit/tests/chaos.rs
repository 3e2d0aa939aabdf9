//! The real runner is killed again and again. With more kills: `cargo xtask chaos --kills 200`.
#![cfg(feature = "real")]

use std::path::Path;

use kiln_testkit::chaos::{self, Plan, Tally};

const KILLS: u32 = 25;
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_at_any_moment_loses_nothing_and_leaks_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let runner = Path::new(env!("CARGO_BIN_EXE_kiln-test-runner"));
    let plan = Plan::on_processes(dir.path(), runner, KILLS, SEED).expect("a plan");
    let in_flight = plan.in_flight;
    let tally = match chaos::run(plan).await {
        Ok(tally) => tally,
        Err(error) => panic!("{error:#}\n{}", log(dir.path())),
    };
    println!("{}", tally.line());
    let good =
        Tally { kills: KILLS, least_in_flight: in_flight, lost: vec![], leaked: vec![], missing: 0, ..tally.clone() };
    assert_eq!(tally, good, "the runner's log ends with:\n{}", log(dir.path()));
    assert!(tally.stages > in_flight as u64 && tally.repeats > 0, "{tally:?}");
}

/// Returns the end of the runner's log.
fn log(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("runner.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
