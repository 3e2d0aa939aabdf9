//! `kiln run`: runs a pipeline file.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use kiln_driver::Driver as _;
use kiln_driver_qemu::Ownership;
use kiln_executor::{Fleet, Images, Options, Run, RunnerFleet};
use kiln_mask::Masked;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Plan, PoolRequest};
use kiln_wire::run::{Event, RunReport, Status};
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::check::{self, Place};
use crate::drivers::Drivers;
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::images::Choice;
use crate::pipeline_file::Given;
use crate::signals::Signals;
use crate::timings::Timings;
use crate::ui::Output;
use crate::ui::files::Files;
use crate::{git, hidden, home, input, kept, local, pipeline_file, progress, runner_access, secrets, stores, ui};

/// Reads the file, refuses it if it cannot run, and runs it otherwise.
pub async fn run(args: RunArgs, started: Instant) -> anyhow::Result<Exit> {
    input::at_most_one(args.given.inputs.iter().chain([&args.file]).map(PathBuf::as_path))?;
    if let (Some(option), Some(_)) = (args.network.given(), &args.runner) {
        let message =
            "there the pool decides what its instances reach, by `network` under `kiln` in the runner's pool file";
        anyhow::bail!(Usage(format!("{option} cannot be used with --runner: {message}")));
    }
    let workspace = workspace(&args)?;
    let facts = git::facts(&workspace, &args.given.event, args.given.branch.as_deref());
    let Some(plan) = read_plan(&args, &facts)? else { return Ok(Exit::Usage) };
    let mut options = options(&args, workspace, facts)?;
    (options.caches, options.artifacts) = stores::of_run(&plan, &args.caches, args.artifact_store.as_deref())?;
    check_given(&args, &plan, &options)?;
    let Some(url) = &args.runner else { return here(&args, &plan, &options, started).await };
    let fleet = RunnerFleet::new(runner_access::at(url, &args.access).map_err(runner_access::report)?);
    let images = |_: &PoolRequest| String::new();
    let ended = carry_out(&args, &plan, &options, started, &fleet, &images).await?;
    // After the second Ctrl-C nothing is awaited: the runner ends stages that nobody comes for.
    Ok(ended.unwrap_or(Exit::Interrupted))
}

/// Runs the plan on VMs of this machine.
async fn here(args: &RunArgs, plan: &Plan, options: &Options, started: Instant) -> anyhow::Result<Exit> {
    let layout = home::layout()?;
    let identity = Identity::of(&layout)?;
    let (listener, tasks) = progress::of_run(args.output.form() == Output::Tree);
    let (host, ownership) = (&args.vm.host, Ownership::Process);
    let driver = Drivers { layout: &layout, host, ownership, identity: &identity, listener }.local()?;
    let choice = Choice::read(&args.image, &driver.images())?;
    let core = local::core(&args.vm, &args.network.network(), driver.clone(), identity).await?;
    let fleet = local::LocalFleet::new(&core, local::POOL, tasks);
    let images = |pool: &_| choice.image(pool);
    match carry_out(args, plan, options, started, &fleet, &images).await? {
        Some(exit) => Ok(exit),
        None => {
            end_all(&driver).await;
            Ok(Exit::Interrupted)
        }
    }
}

/// Carries out the plan and shows it. Returns none when a second signal ended it.
async fn carry_out(
    args: &RunArgs,
    plan: &Plan,
    options: &Options,
    started: Instant,
    fleet: &dyn Fleet,
    images: Images<'_>,
) -> anyhow::Result<Option<Exit>> {
    let view = Mutex::new(Screen::new(args, started)?);
    let sink = |event: Masked<Event>| view.lock().unwrap_or_else(PoisonError::into_inner).show(&event);
    let cancel = CancellationToken::new();
    let signals = Signals::listen().context("cannot listen to signals")?;
    let run = Run::new(plan, options, fleet, images, &sink, &cancel).carry_out();
    let report = tokio::select! {
        report = run => report,
        () = interrupted(signals, &cancel) => return Ok(None),
    };
    Ok(Some(exit(&report, &cancel)))
}

fn exit(report: &RunReport, cancel: &CancellationToken) -> Exit {
    match report.status {
        _ if cancel.is_cancelled() => Exit::Interrupted,
        Status::Passed | Status::Skipped | Status::Ignored => Exit::Ok,
        Status::Failed | Status::Cancelled => Exit::Failed,
    }
}

/// Shows events and collects their consequences.
struct Screen {
    view: Box<dyn ui::View>,
    files: Files,
    timings: Option<Timings>,
    kept: Vec<kept::Note>,
}

impl Screen {
    fn new(args: &RunArgs, started: Instant) -> anyhow::Result<Self> {
        let files = Files::open(args.json_file.as_deref(), args.summary.as_deref())?;
        let timings = args.timings.then(|| Timings::new(started));
        Ok(Self { view: ui::view(args.output), files, timings, kept: Vec::new() })
    }

    fn show(&mut self, event: &Masked<Event>) {
        if let Event::InstanceKept { stage, instance, agent, workspace_dir, .. } = &**event {
            let (stage, instance, workspace_dir) = (stage.clone(), instance.clone(), workspace_dir.clone());
            match kept::Note::leave(&kept::Kept { instance, stage, agent: agent.clone(), workspace_dir }) {
                Ok(note) => self.kept.push(note),
                Err(error) => tracing::warn!("kiln shell will not find the instance: {error:#}"),
            }
        }
        self.view.show(event);
        self.files.show(event);
        if let Some(timings) = &mut self.timings {
            timings.note(event);
            if matches!(**event, Event::RunFinished { .. }) {
                eprint!("{}", timings.table());
            }
        }
    }
}

/// Returns at the second signal. The first one ends the run in order.
async fn interrupted(mut signals: Signals, cancel: &CancellationToken) {
    signals.next().await;
    eprintln!("\nending the run and its VMs; a second signal ends them at once");
    cancel.cancel();
    signals.next().await;
}

async fn end_all(driver: &kiln_driver_qemu::QemuDriver) {
    match driver.list().await {
        Err(error) => tracing::warn!(%error, "the VMs could not be listed; they end with this process"),
        Ok(listed) => {
            for instance in listed {
                if let Err(error) = driver.destroy(&instance.id).await {
                    tracing::warn!(instance = instance.id, %error, "the VM ends with this process");
                }
            }
        }
    }
}

/// Returns the plan of the file, or `None` when its findings were shown and it cannot run.
fn read_plan(args: &RunArgs, facts: &Facts) -> anyhow::Result<Option<Plan>> {
    let unread = |error| Usage(format!("could not read {}: {error}", input::name(&args.file)));
    let mut loaded = pipeline_file::load(&args.file, &Given::read(&args.given)?).map_err(unread)?;
    let place = if args.runner.is_some() { Place::Runner } else { Place::Here };
    check::check(&mut loaded, &args.given, facts, place);
    let report = &loaded.report;
    let can_run = report.status() == kiln_document::Status::Ok;
    if !report.diagnostics.is_empty() && (args.output != Output::Json || !can_run) {
        anstream::eprintln!("{}", report.text(true));
    }
    if !can_run {
        eprintln!("{} cannot be run; nothing was started", report.file);
        return Ok(None);
    }
    loaded.plan.map(Some).context("the file gave no plan")
}

fn options(args: &RunArgs, workspace: PathBuf, facts: Facts) -> anyhow::Result<Options> {
    let secrets = secrets::read(&args.secret, args.secret_file.as_deref())?;
    let registries = args.docker_config.as_deref().map(secrets::logins).transpose()?.unwrap_or_default();
    let passwords = registries.iter().map(|login| login.password.as_str());
    hidden::hide(secrets.iter().map(|(_, value)| value.as_str()).chain(passwords));
    Ok(Options {
        workspace,
        env: args.env.clone(),
        secrets,
        registries,
        given: args.given.var.clone(),
        stages: args.given.stage.clone(),
        facts,
        keep_on_failure: args.keep_on_failure,
        ..Options::default()
    })
}

/// Refuses a run that would fail half-way for lack of a secret or a value.
fn check_given(args: &RunArgs, plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let secrets: Vec<&str> = options.secrets.iter().map(|(name, _)| name.as_str()).collect();
    let missing = check::missing(plan, &args.given, &options.facts, &secrets);
    let file = input::name(&args.file);
    let told: Vec<String> =
        missing.told().map(|(place, what, how)| format!("{file}:{}: {what}; {how}", place.line)).collect();
    anyhow::ensure!(told.is_empty(), Usage(format!("nothing was started\n  {}", told.join("\n  "))));
    Ok(())
}

/// Returns the directory whose tree the stages get.
fn workspace(args: &RunArgs) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &args.workspace {
        anyhow::ensure!(dir.is_dir(), Usage(format!("--workspace {}: no such directory", dir.display())));
        return Ok(dir.clone());
    }
    Ok(pipeline_file::root(&args.file))
}
