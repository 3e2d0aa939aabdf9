//! The program: `kiln-agent server --env-file FILE`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use kiln_agent::os::{memory, program};
use kiln_agent::server::Server;
use kiln_agent::settings::{Settings, SettingsError};
use kiln_agent::{dotenv, log, watchdog};

const USAGE: &str = "\
Usage: kiln-agent server [--env-file FILE]
       kiln-agent --version

Runs CI steps in this machine and serves them over HTTPS with client certificates.
Settings come from the environment, and before it from FILE (KEY=VALUE lines):
  HTTPS_BIND        address to listen on (:9079)
  SERVER_CERT_FILE  certificate of this agent (/tmp/certs/server-cert.pem)
  SERVER_KEY_FILE   its key (/tmp/certs/server-key.pem)
  CLIENT_CERT_FILE  authority of the clients (/tmp/certs/ca-cert.pem)
  KILN_STATE_DIR    where output is kept (/var/lib/kiln-agent)
  KILN_STEP_OUTPUT_LIMIT_MIB, KILN_DISK_RESERVE_MIB, KILN_KILL_GRACE_MS
  KILN_LEASE_S      power off without contact for this long (never)
  KILN_MAX_AGE_S    power off at this age (never)
  KILN_CHANGE_KERNEL  false: the machine is not the agent's own. A claim leaves
                    clock, host name and entropy alone, and where it would power
                    off it only ends itself and its steps (true)
  KILN_STEP_USER    whom steps run as that do not say it, by name or number
                    (the agent's own user)
  DOCKER_HOST       socket of the container engine, as unix:///PATH
                    (unix:///var/run/docker.sock)
  KILN_DOCKER_SOCKET  false: containers do not see that socket, unless a claim
                    says that they may (true)
  KILN_ROOT_DIR     root of the files that a claim changes (/)
";

enum Action {
    Serve { env_file: Option<PathBuf> },
    Print(String),
}

/// Not the workspace's choice for programs: here each kilobyte travels to every machine.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("Error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    match arguments(lexopt::Parser::from_env())? {
        Action::Print(text) => {
            println!("{text}");
            Ok(())
        }
        Action::Serve { env_file } => {
            memory::keep_little();
            let settings = settings(env_file)?;
            log::start(settings.debug);
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .max_blocking_threads(32)
                .enable_all()
                .build()
                .map_err(|error| format!("cannot start the runtime: {error}"))?;
            runtime.block_on(serve(settings))
        }
    }
}

fn arguments(mut parser: lexopt::Parser) -> Result<Action> {
    use lexopt::prelude::*;
    let mut command = None;
    let mut env_file = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('v') | Short('V') | Long("version") => {
                return Ok(Action::Print(format!("kiln-agent {}", kiln_agent::VERSION)));
            }
            Short('h') | Long("help") => return Ok(Action::Print(USAGE.trim_end().into())),
            Long("env-file") => env_file = Some(parser.value()?.into()),
            Value(value) if command.is_none() => command = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    match command.as_deref() {
        Some("server") => Ok(Action::Serve { env_file }),
        Some(other) => Err(format!("unknown command {other:?}\n\n{USAGE}").into()),
        None => Err(format!("no command given\n\n{USAGE}").into()),
    }
}

/// The file wins over the environment, as in the original.
fn settings(env_file: Option<PathBuf>) -> std::result::Result<Settings, SettingsError> {
    let text = |(k, v): (std::ffi::OsString, std::ffi::OsString)| Some((k.into_string().ok()?, v.into_string().ok()?));
    let mut env: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
    if let Some(path) = env_file {
        let text = std::fs::read_to_string(&path).map_err(|source| SettingsError::File { path, source })?;
        env.extend(dotenv::parse(&text));
    }
    Ok(Settings { adopt_orphans: true, ..Settings::from_env(env)? })
}

async fn serve(settings: Settings) -> Result<()> {
    let asked_to_end = program::asked_to_end()?;
    if settings.adopt_orphans {
        tokio::spawn(async {
            if let Err(error) = program::adopt_orphans().await {
                tracing::warn!(%error, "orphans of steps are left to the system");
            }
        });
    }
    if let Err(error) = program::spare_when_memory_runs_out() {
        tracing::debug!(%error, "the agent is not spared when memory runs out");
    }
    let machine = if settings.change_kernel { watchdog::Machine::Own } else { watchdog::Machine::Shared };
    let server = Server::bind(settings).await?;
    tracing::info!(address = %server.address()?, "listening");
    let agent = server.agent();
    log::hide(agent.secrets());
    let contact = agent.contact.clone();
    tokio::spawn(async move { agent.load.watch().await });
    let stop = async move {
        tokio::select! {
            () = asked_to_end => {}
            () = watchdog::watch(&contact, machine) => {}
        }
        tracing::info!("stopping");
    };
    server.serve(stop).await;
    Ok(())
}
