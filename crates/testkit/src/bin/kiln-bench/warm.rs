//! Waiting times of a stage's caller when its instance is a warm local VM: `/setup`, and the first `/step`. Several
//! programs take turns, so that other load on the machine affects them equally.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::local::{Folder, IMAGE, POOL};
use crate::numbers::{ms, percentile};
use crate::post;
use crate::real::Runner;

/// Default number of stages of each program.
pub const ROUNDS: usize = 30;
/// VMs that each runner keeps warm.
const WARM: u32 = 2;
/// Pause before each stage, in which the end of the last VM and the creation of the next one finish.
const REST: Duration = Duration::from_secs(1);

/// A program and its times.
struct Contender {
    program: PathBuf,
    runner: Runner,
    setup: Vec<Duration>,
    step: Vec<Duration>,
    both: Vec<Duration>,
}

pub async fn run(programs: &[PathBuf], rounds: usize) -> anyhow::Result<()> {
    println!("# /setup, first /step of `true` on warm VMs of {IMAGE}; {WARM} warm each; {rounds} rounds, taking turns");
    let folder = Folder::new()?;
    let mut contenders = Vec::new();
    for program in programs {
        let runner = folder.start(program, WARM, WARM + 1).await?;
        // They start one after the other, because each makes its golden VM first.
        rest(&runner).await?;
        let program = program.clone();
        contenders.push(Contender { program, runner, setup: Vec::new(), step: Vec::new(), both: Vec::new() });
    }
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            for contender in &contenders {
                rest(&contender.runner).await?;
            }
            tokio::time::sleep(REST).await;
            // Each program is first equally often.
            let turn = (turn + round) % contenders.len();
            contenders[turn].serve(&format!("round-{round}")).await?;
        }
    }
    report(&mut contenders);
    Ok(())
}

async fn rest(runner: &Runner) -> anyhow::Result<()> {
    runner.wait(|pool| pool.ready == WARM && pool.starting + pool.claimed + pool.terminating == 0).await
}

impl Contender {
    async fn serve(&mut self, stage: &str) -> anyhow::Result<()> {
        let api = &self.runner.api;
        let began = Instant::now();
        post(api, "/setup", &json!({"id": stage, "pool_id": POOL, "setup_request": {"envs": {"A": "b"}}})).await?;
        let setup = began.elapsed();
        let run = json!({"entrypoint": ["sh", "-c"], "commands": ["true"]});
        let step = json!({"id": format!("{stage}-step"), "stage_runtime_id": stage, "run": run});
        let end = post(api, "/step", &json!({"stage_runtime_id": stage, "start_step_request": step})).await?;
        let both = began.elapsed();
        anyhow::ensure!(end["exited"] == true && end["error"].is_null(), "the step failed: {end}");
        post(api, "/destroy", &json!({"id": stage})).await?;
        self.setup.push(setup);
        self.step.push(both - setup);
        self.both.push(both);
        Ok(())
    }

    /// Returns the times: `/setup`, the step, and both.
    fn times(&mut self) -> [&mut Vec<Duration>; 3] {
        [&mut self.setup, &mut self.step, &mut self.both]
    }
}

fn report(contenders: &mut [Contender]) {
    let row = |cells: &[String], name: &str| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
        println!("{cells}  {name}");
    };
    row(&["setup_p50", "setup_p99", "step_p50", "step_p99", "both_p50", "both_p99"].map(str::to_owned), "in ms");
    for contender in contenders.iter_mut() {
        let cells = contender.times().into_iter().flat_map(|times| [50, 99].map(|at| ms(percentile(times, at))));
        let cells: Vec<String> = cells.collect();
        row(&cells, &contender.program.display().to_string());
    }
    let Some((first, others)) = contenders.split_first_mut() else { return };
    for other in others {
        let pairs = first.times().into_iter().zip(other.times());
        let ratios =
            pairs.flat_map(|(before, now)| [50, 99].map(|at| ratio(percentile(now, at), percentile(before, at))));
        let ratios: Vec<String> = ratios.collect();
        row(&ratios, &format!("{} of the first", other.program.display()));
    }
}

fn ratio(now: Duration, before: Duration) -> String {
    format!("{:.0} %", 100.0 * now.as_secs_f64() / before.as_secs_f64().max(f64::EPSILON))
}
