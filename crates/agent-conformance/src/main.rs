//! `kiln-agent-conformance https://HOST:PORT`: holds an agent to the protocol.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use kiln_agent_conformance::{Target, all, run};

/// Holds an agent to the protocol, from outside: any agent that speaks it, by its address alone.
///
/// The machine must be one that nobody uses: a stage is set up in it, steps are run, and the stage is ended.
///
/// Exit codes: 0 when the agent keeps all that is checked, 1 when it does not, 2 when the checks could not begin.
#[derive(Parser)]
#[command(name = "kiln-agent-conformance", version)]
struct Arguments {
    /// The agent's URL, as https://10.0.0.7:9079; http for one that serves without TLS.
    agent: Option<String>,
    /// Authority of the agent's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The caller's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The caller's key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The name in the agent's certificate, where that is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// How the results are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Only checks whose name contains this, or whose section begins with it; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Lists the checks instead.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each check as it ends, and the totals.
    Text,
    /// One object at the end.
    Json,
}

/// The checks could not begin.
const NOT_BEGUN: u8 = 2;

fn main() -> ExitCode {
    match begin(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::from(NOT_BEGUN)
        }
    }
}

/// Whether the agent keeps all that is checked.
fn begin(arguments: Arguments) -> Result<bool> {
    if arguments.list {
        for check in all().filter(|check| check.is_one_of(&arguments.only)) {
            say(format_args!("{:<16} {}", check.section(), check.name()));
        }
        return Ok(true);
    }
    if !all().any(|check| check.is_one_of(&arguments.only)) {
        bail!("no check is called like that; --list shows them");
    }
    let target = target(&arguments)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let text = arguments.format == Format::Text;
    let tell = |verdict: &kiln_agent_conformance::Verdict| {
        if text {
            say(verdict);
        }
    };
    let report = runtime.block_on(run(&target, &arguments.only, tell))?;
    if text {
        say(&report);
    } else {
        say(serde_json::to_string_pretty(&report).context("the results cannot be written")?);
    }
    Ok(report.is_kept())
}

/// Writes a line. Whoever reads may have seen enough and be gone; the exit code is still for them.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn target(arguments: &Arguments) -> Result<Target> {
    let Some(url) = arguments.agent.as_deref().filter(|url| !url.is_empty()) else {
        bail!("name the agent, as https://10.0.0.7:9079; --help tells more");
    };
    let mut target = Target::new(url)?;
    target.server_name = arguments.server_name.clone().filter(|name| !name.is_empty());
    if url.starts_with("https:") {
        let read = |file: &Option<PathBuf>, flag: &str| {
            let file = file.as_ref().with_context(|| format!("an agent at an https URL needs {flag} FILE"))?;
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        target.ca_pem = read(&arguments.ca, "--ca")?;
        target.cert_pem = read(&arguments.cert, "--cert")?;
        target.key_pem = read(&arguments.key, "--key")?;
    }
    Ok(target)
}
