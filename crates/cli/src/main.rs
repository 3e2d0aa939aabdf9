//! The command line program `kiln`.

mod ages;
mod args;
mod check;
mod commands;
mod drivers;
mod exit;
mod git;
mod hidden;
mod home;
mod identity;
mod images;
mod inherited;
mod input;
mod kept;
mod local;
mod pipeline_file;
mod print;
mod progress;
mod runner_access;
mod secrets;
mod short_ids;
mod signals;
mod sizes;
mod stores;
mod table;
mod timeline;
mod timings;
mod trial;
mod ui;
mod unreadable;
mod waits;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::exit::Exit;

fn main() -> std::process::ExitCode {
    let started = std::time::Instant::now();
    // Before there is a second thread: a warden of a local VM has none when it divides itself.
    if let Some(ended) = drivers::as_warden(std::env::args_os().skip(1)) {
        return ended;
    }
    let cli = Cli::parse();
    keep_files_private();
    start_logging(&cli.command);
    kiln_tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(Err(anyhow::Error::new(error).context("the runtime could not start"))),
    };
    let result = runtime.block_on(dispatch(cli.command, started));
    // Blocking work that is still running, such as reading a terminal, must not delay the exit.
    runtime.shutdown_background();
    exit::report(result)
}

async fn dispatch(command: Command, started: std::time::Instant) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => commands::run::run(*args, started).await,
        Command::Runner(args) => commands::runner::runner(*args).await,
        Command::Validate(args) => commands::validate::validate(&args),
        Command::Image(command) => commands::image::image(command).await,
        Command::Pool(command) => waits::shown("the runner", commands::pool::pool(command)).await,
        Command::Instance(command) => waits::shown("the runner", commands::instance::instance(command)).await,
        Command::Stage(command) => waits::shown("the runner", commands::stage::stage(command)).await,
        Command::Events(args) => commands::events::events(args).await,
        Command::Tests(command) => commands::tests::tests(&command),
        Command::Cache(command) => waits::shown("the cache store", commands::cache::cache(command)).await,
        Command::Shell(args) => commands::shell::shell(args).await,
        Command::Doctor(args) => Box::pin(commands::doctor::doctor(*args)).await,
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut std::io::stdout());
            Ok(Exit::Ok)
        }
        Command::Schema => {
            print::line(serde_json::to_string_pretty(&kiln_pipeline::json_schema())?);
            Ok(Exit::Ok)
        }
    }
}

/// Makes all files that Kiln writes private to its user: databases, keys, sockets, logs, images, the memory of VMs.
/// Programs that it starts inherit this.
fn keep_files_private() {
    use nix::sys::stat::{Mode, umask};
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Log level of most commands.
const LOGGED: &str = "warn";
/// That of a trial. It knocks at closed doors itself, and its checks show what of a VM is not bounded.
const LOGGED_IN_TRIAL: &str = "warn,kiln_driver_qemu::vm::qemu=error";

fn start_logging(command: &Command) {
    let tries = matches!(command, Command::Doctor(args) if args.tries);
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(if tries { LOGGED_IN_TRIAL } else { LOGGED }));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| hidden::Log).without_time().init();
}
