//! Scenarios: small files that people write, played on the simulated world with steady times. Their transcripts are
//! committed.
//!
//! ```text
//! runners 2
//! pool linux on cloud limit 3 warm 1 fallback spare
//! lease 20m
//! at 10s setup s1 pool linux wait 60s run 10m
//! at 20s fault response_lost launch
//! at 30s fault vm_dies i1
//! advance 5m
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use kiln_engine::Demand;
use kiln_pool::{Code, Config, InstanceId, Request, StageId};

use super::clients::{Client, Manners, ask};
use super::clock::{Clock, Owner};
use super::executor::Executor;
use super::fault::Fault;
use super::rng::Rng;
use super::setting::{self, START_MS};
use super::world::{Pace, Process, Shared, World};

/// Longest stay of a stage's client.
const FOR_EVER_MS: i64 = 10 * 24 * 3_600_000;

/// Plays a scenario and returns its transcript.
///
/// # Errors
/// Says which line is not valid, or which invariant broke.
pub fn play(text: &str) -> Result<String, String> {
    let lines: Vec<(usize, Vec<&str>)> = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split('#').next().unwrap_or_default().split_whitespace().collect()))
        .filter(|(_, words): &(usize, Vec<&str>)| !words.is_empty())
        .collect();
    let mut config = Config::default();
    let (mut runners, mut lease_ms) = (1, None);
    let is_setting = |words: &[&str]| matches!(words.first(), Some(&("runners" | "pool" | "timing" | "lease")));
    for (number, words) in lines.iter().filter(|(_, words)| is_setting(words)) {
        let done = match words.as_slice() {
            ["runners", count] => count.parse().map(|count| runners = count).map_err(|e| format!("{e}")),
            ["lease", span] => duration_ms(span).map(|ms| lease_ms = Some(ms)),
            _ => configure(&mut config, words),
        };
        done.map_err(|why| format!("line {number}: {why}"))?;
    }
    let clock = Clock::new(START_MS);
    let mut world = World::new(&clock, Rng::new(1), config, runners);
    (world.pace, world.transcript.all) = (Pace::Steady, true);
    setting::clouds(&mut world);
    for cloud in world.clouds.values_mut() {
        cloud.watchdog.lease_ms = lease_ms.unwrap_or(cloud.watchdog.lease_ms);
    }
    let mut executor = Executor::new(Shared::new(world));
    for runner in 0..runners {
        executor.start(runner);
    }
    for (number, words) in lines.iter().filter(|(_, words)| !is_setting(words)) {
        command(&mut executor, words).map_err(|why| format!("line {number}: {why}"))?;
    }
    let world = executor.shared.world();
    let transcript = world.transcript.tail(usize::MAX).join("\n") + "\n";
    match &world.violation {
        None => Ok(transcript),
        Some(violation) => Err(format!("`{}` is broken: {}\n{transcript}", violation.invariant, violation.what)),
    }
}

fn configure(config: &mut Config, words: &[&str]) -> Result<(), String> {
    match words {
        ["pool", name, "on", driver, "limit", limit, "warm", warm, rest @ ..] => {
            let mut pool = setting::pool(name, driver, number(limit)?, number(warm)?);
            let mut rest = rest.iter();
            while let Some(word) = rest.next() {
                match *word {
                    "fallback" => pool.fallbacks.extend(rest.next().map(|name| (*name).to_owned())),
                    "hibernate" => pool.flavors.iter_mut().for_each(|flavor| flavor.hibernate = true),
                    other => return Err(format!("a pool has no `{other}`")),
                }
            }
            config.pools.insert((*name).to_owned(), pool);
        }
        ["timing", name, value] => {
            let value = duration_ms(value)?;
            match *name {
                "boot_timeout" => config.timing.boot_timeout_ms = value,
                "launch_timeout" => config.timing.launch_timeout_ms = value,
                "unreachable_after" => config.timing.unreachable_after_ms = value,
                "vanished_after" => config.timing.vanished_after_ms = value,
                other => return Err(format!("there is no timing `{other}`")),
            }
        }
        other => return Err(format!("`{}` is no setting", other.join(" "))),
    }
    Ok(())
}

fn command(executor: &mut Executor, words: &[&str]) -> Result<(), String> {
    match words {
        ["advance", span] => {
            let until = executor.shared.clock.now_ms() + duration_ms(span)?;
            go_to(executor, until)
        }
        ["at", when, rest @ ..] => {
            go_to(executor, START_MS + duration_ms(when)?)?;
            let line = format!("* {}", rest.join(" "));
            executor.shared.world().say(&line);
            happen(executor, rest)
        }
        other => Err(format!("`{}` is no command; write `at TIME WHAT` or `advance TIME`", other.join(" "))),
    }
}

/// Lets the world run until that time.
fn go_to(executor: &mut Executor, until_ms: i64) -> Result<(), String> {
    let clock = Arc::clone(&executor.shared.clock);
    let there = Arc::new(AtomicBool::new(false));
    let (reached, sleep) = (Arc::clone(&there), clock.sleep(until_ms - clock.now_ms()));
    clock.spawn(
        Owner::World,
        async move {
            sleep.await;
            reached.store(true, Ordering::Relaxed);
        }
        .boxed(),
    );
    while !there.load(Ordering::Relaxed) {
        let went_on = executor.step();
        if !went_on {
            return Err("nobody waits for anything any more".to_owned());
        }
        if executor.shared.world().violation.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

fn happen(executor: &mut Executor, words: &[&str]) -> Result<(), String> {
    let shared = Arc::clone(&executor.shared);
    match words {
        ["setup", id, "pool", pool, "wait", wait, "run", run] => {
            let request = Request { pool: (*pool).to_owned(), ..Request::default() };
            let (wait_ms, run_ms) = (duration_ms(wait)?, duration_ms(run)?);
            let demand = Demand { id: StageId::new(*id), request, wait_ms, run_ms };
            let client = client(executor, demand);
            shared.clock.spawn(Owner::World, client.live().boxed());
        }
        ["end", id] => {
            let demand = Demand { id: StageId::new(*id), request: Request::default(), wait_ms: 0, run_ms: 0 };
            let client = client(executor, demand);
            shared.clock.spawn(Owner::World, async move { client.end(Code::Destroyed).await }.boxed());
        }
        ["fault", "clock_jump", runner, ms] => {
            let (runner, ms) = (runner_of(runner)?, duration_ms(ms)?);
            let mut world = shared.world();
            world.processes.get_mut(runner).ok_or("there is no such runner")?.skew_ms = ms;
        }
        ["fault", "store_outage", span] => shared.world().stop_store(duration_ms(span)?),
        ["fault", "disk_full", span] => shared.world().fill_disk(duration_ms(span)?),
        ["fault", name @ ("vm_dies" | "agent_hangs" | "agent_forgets"), id] => {
            let mut world = shared.world();
            let row = world.rows.instances.get(&InstanceId::new(*id)).ok_or("there is no such instance")?;
            let driver = row.site.to_string();
            world.hit(&driver, id, name);
        }
        ["fault", name, rest @ ..] => {
            let fault = Fault::from_name(name).ok_or_else(|| format!("there is no fault `{name}`"))?;
            let call = rest.first().copied().unwrap_or_default();
            let times = rest.get(1).map_or(Ok(1), |times| number(times))?;
            shared.world().faults.arm(fault, call, times);
        }
        ["twin", runner] => {
            let process = Process::of_runner(runner_of(runner)?);
            let index = {
                let mut world = shared.world();
                world.processes.push(process);
                world.processes.len() - 1
            };
            executor.start(index);
        }
        ["unreadable", id] => drop(shared.world().rows.unreadable.insert((*id).to_owned())),
        ["crash", runner] => executor.crash(runner_of(runner)?),
        ["start", runner] => executor.start(runner_of(runner)?),
        ["hold", id, span] => {
            let (id, until) = (InstanceId::new(*id), shared.clock.now_ms() + duration_ms(span)?);
            let held =
                move |engine: Arc<kiln_engine::Engine>| async move { engine.hold(&id, until).await.is_ok() }.boxed();
            drop(ask(&shared, &executor.engines(), held));
        }
        [word @ ("drain" | "undrain"), pool] => {
            let (pool, drained) = ((*pool).to_owned(), *word == "drain");
            let act = move |engine: Arc<kiln_engine::Engine>| {
                async move { engine.drain(&pool, drained).await.is_ok() }.boxed()
            };
            drop(ask(&shared, &executor.engines(), act));
        }
        [word @ ("full" | "room"), pool] => {
            for cloud in shared.world().clouds.values_mut() {
                cloud.full_for.retain(|name| name != pool);
                if *word == "full" {
                    cloud.full_for.push((*pool).to_owned());
                }
            }
        }
        other => return Err(format!("`{}` is not known", other.join(" "))),
    }
    Ok(())
}

fn client(executor: &Executor, demand: Demand) -> Client {
    let (shared, engines) = (Arc::clone(&executor.shared), executor.engines());
    Client { shared, engines, demand, run_ms: FOR_EVER_MS, manners: Manners::default() }
}

fn runner_of(word: &str) -> Result<usize, String> {
    word.strip_prefix("runner").and_then(|n| n.parse().ok()).ok_or_else(|| format!("`{word}` is no runner: `runner0`"))
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}

fn duration_ms(word: &str) -> Result<i64, String> {
    let (digits, unit) = word.split_at(word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len()));
    let number: i64 = digits.parse().map_err(|_| format!("`{word}` is not a time: write 500ms, 10s, 5m or 2h"))?;
    match unit {
        "ms" => Ok(number),
        "s" => Ok(number * 1_000),
        "m" => Ok(number * 60_000),
        "h" => Ok(number * 3_600_000),
        _ => Err(format!("`{word}` is not a time: write 500ms, 10s, 5m or 2h")),
    }
}
