//! Cost and speed of a runner. Each command prints a line with its numbers.

mod bare;
mod burst;
mod claim;
mod local;
mod moved;
mod numbers;
mod queue;
mod real;
mod roundtrip;
mod stages;
mod stub;
mod warm;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kiln_runner_client::{Access, Patience, Runner};

const USAGE: &str = "\
Usage: kiln-bench claim [--store sqlite|postgres] [--rows N,N]
                               warm claims through /setup, with so many warm rows
       kiln-bench roundtrip [--rounds N]
                               /setup, /step of `true` and /destroy on real agents
       kiln-bench queue
                               from an instance's being ready to its stage's caller having it, while many wait
       kiln-bench burst [--crowd N] [--kiln PATH]
                               many stages at once on few real agents, on none, and at a steady pace; with a program
                               also on its local VMs
       kiln-bench stages [--stages N]
                               so many stages at once on real agents
       kiln-bench moved [--runners N]
                               runners of one PostgreSQL, one of which is killed
       kiln-bench warm --kiln PATH[,PATH] [--rounds N]
                               /setup and the first /step on warm local VMs, by each of these programs in turn";

/// Time after which a call of the API has failed.
const CALL_WITHIN: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    kiln_tls::install_provider();
    let (command, mut options) = arguments()?;
    let mut take = |name: &str, default: &str| options.remove(name).unwrap_or_else(|| default.to_owned());
    match command.as_str() {
        "claim" => {
            let rows = take("rows", "10,1000,10000");
            let rows = rows.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>().context("--rows")?;
            claim::run(&take("store", "sqlite"), &rows).await
        }
        "roundtrip" => roundtrip::run(take("rounds", "200").parse().context("--rounds")?).await,
        "queue" => queue::run().await,
        "burst" => {
            let crowd = take("crowd", "300").parse().context("--crowd")?;
            burst::run(crowd, options.remove("kiln").map(PathBuf::from).as_deref()).await
        }
        "stages" => stages::run(take("stages", "500").parse().context("--stages")?).await,
        "moved" => moved::run(take("runners", "3").parse().context("--runners")?).await,
        "warm" => {
            let programs = options.remove("kiln").context("name the program with --kiln")?;
            let rounds = options.remove("rounds").map_or(Ok(warm::ROUNDS), |text| text.parse()).context("--rounds")?;
            warm::run(&programs.split(',').map(PathBuf::from).collect::<Vec<_>>(), rounds).await
        }
        other => anyhow::bail!("{other:?} is not a command\n{USAGE}"),
    }
}

fn arguments() -> anyhow::Result<(String, BTreeMap<String, String>)> {
    use lexopt::prelude::*;
    let (mut command, mut options) = (String::new(), BTreeMap::new());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long(name) => {
                let name = name.to_owned();
                options.insert(name, parser.value()?.string()?);
            }
            Value(value) if command.is_empty() => command = value.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((command, options))
}

/// Returns a client of a runner that a benchmark started. It repeats no call.
fn client(url: &str) -> anyhow::Result<Runner> {
    let patience = Patience { unreachable_for: Duration::ZERO, pause: Duration::ZERO };
    Ok(Runner::new(url, &Access::default())?.with_patience(patience))
}

/// Makes a call that must succeed in time.
async fn post(runner: &Runner, path: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
    let answered = tokio::time::timeout(CALL_WITHIN, runner.wait(path, body)).await;
    answered.with_context(|| format!("{path} was not answered in time"))?.with_context(|| path.to_owned())
}
