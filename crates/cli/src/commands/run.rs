//! `kiln run`: a pipeline file on local VMs.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use kiln_driver::Driver as _;
use kiln_driver_qemu::Ownership;
use kiln_executor::{Fleet, Images, Options, Run, RunnerFleet};
use kiln_mask::Masked;
use kiln_pipeline::plan::{Plan, PoolRequest};
use kiln_wire::run::{Event, RunReport, Status};
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::drivers::Drivers;
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::images::Choice;
use crate::signals::Signals;
use crate::timings::Timings;
use crate::ui::Output;
use crate::ui::files::Files;
use crate::{git, hidden, home, kept, local, pipeline_file, progress, runner_access, secrets, ui};

/// Reads the file, refuses what cannot be run, runs the rest.
pub async fn run(args: RunArgs, started: Instant) -> anyhow::Result<Exit> {
    let Some(plan) = read_plan(&args)? else { return Ok(Exit::Usage) };
    let options = options(&args, &plan)?;
    check_given(&args, &plan, &options)?;
    let Some(url) = &args.runner else { return here(&args, &plan, &options, started).await };
    let fleet = RunnerFleet::new(runner_access::at(url, &args.access).map_err(runner_access::report)?);
    let images = |_: &PoolRequest| Ok(String::new());
    let ended = carry_out(&args, &plan, &options, started, &fleet, &images).await?;
    // Without an answer to the second Ctrl-C: the runner ends what nobody comes for.
    Ok(ended.unwrap_or(Exit::Interrupted))
}

/// On VMs of this machine.
async fn here(args: &RunArgs, plan: &Plan, options: &Options, started: Instant) -> anyhow::Result<Exit> {
    let layout = home::layout()?;
    let identity = Identity::of(&layout)?;
    let (host, ownership, listener) = (&args.vm.host, Ownership::Process, progress::listener());
    let driver = Drivers { layout: &layout, host, ownership, identity: &identity, listener }.local()?;
    let choice = Choice::read(&args.image, &driver.images())?;
    for node in &plan.stages.nodes {
        choice.image(&node.item.pool).map_err(|why| Usage(format!("stage {} cannot run here: {why}", node.item.id)))?;
    }
    let core = local::core(&args.vm, driver.clone(), identity).await?;
    let fleet = local::LocalFleet::new(&core, local::POOL);
    let images = |pool: &_| choice.image(pool);
    match carry_out(args, plan, options, started, &fleet, &images).await? {
        Some(exit) => Ok(exit),
        None => {
            end_all(&driver).await;
            Ok(Exit::Interrupted)
        }
    }
}

/// Carries the plan out and shows it; none when it was ended by a second signal.
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
    let signals = Signals::listen().context("signals cannot be listened to")?;
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

/// Shows events and keeps what else follows from them.
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

/// Returns at the second signal; the first one ends the run in order.
async fn interrupted(mut signals: Signals, cancel: &CancellationToken) {
    signals.next().await;
    eprintln!("\nending the run and its VMs; again to end at once");
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

/// The plan of the file, or `None` when its findings were shown and it cannot be run.
fn read_plan(args: &RunArgs) -> anyhow::Result<Option<Plan>> {
    let loaded = pipeline_file::load(&args.file, &args.given)?;
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

fn options(args: &RunArgs, plan: &Plan) -> anyhow::Result<Options> {
    let secrets = secrets::read(&args.secret, args.secret_file.as_deref())?;
    hidden::hide(secrets.iter().map(|(_, value)| value.as_str()));
    check_stages(args, plan)?;
    let workspace = workspace(args)?;
    let facts = git::facts(&workspace, &args.event, args.branch.as_deref());
    Ok(Options {
        workspace,
        env: args.env.clone(),
        secrets,
        given: args.given.var.clone(),
        stages: args.stage.clone(),
        facts,
        keep_on_failure: args.keep_on_failure,
        ..Options::default()
    })
}

/// Refuses a run that would fail half-way for want of a secret or a value.
fn check_given(args: &RunArgs, plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let file = args.file.display();
    // A single stage may need less than the whole file; what it lacks, its steps tell.
    let has = |name: &str| {
        let bare = name.strip_prefix("account.").or_else(|| name.strip_prefix("org.")).unwrap_or(name);
        !args.stage.is_empty() || options.secrets.iter().any(|(given, _)| given == name || given == bare)
    };
    let mut missing = Vec::new();
    for secret in plan.secrets().iter().filter(|secret| !has(&secret.name)) {
        let (name, line) = (&secret.name, secret.location.line);
        missing.push(format!("{file}:{line}: the secret {name} is not given; give it with --secret {name}=VALUE"));
    }
    for input in plan.inputs() {
        let (name, line) = (&input.name, input.location.line);
        missing.push(format!(
            "{file}:{line}: a value is to be given; give it with --var {name}=VALUE, or with --inputs FILE"
        ));
    }
    anyhow::ensure!(missing.is_empty(), Usage(format!("nothing was started\n  {}", missing.join("\n  "))));
    Ok(())
}

fn check_stages(args: &RunArgs, plan: &Plan) -> anyhow::Result<()> {
    let known: Vec<&str> = plan.stages.nodes.iter().map(|node| node.item.id.as_str()).collect();
    for wanted in &args.stage {
        let there = known.contains(&wanted.as_str());
        anyhow::ensure!(there, Usage(format!("--stage {wanted}: no such stage; there are: {}", known.join(", "))));
    }
    Ok(())
}

/// The directory whose tree the stages get.
fn workspace(args: &RunArgs) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &args.workspace {
        anyhow::ensure!(dir.is_dir(), Usage(format!("--workspace {}: no such directory", dir.display())));
        return Ok(dir.clone());
    }
    let beside = args.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(git::root(beside).unwrap_or_else(|| beside.to_owned()))
}
