//! Findings of `kiln run` before it starts anything. `kiln validate` reports the same ones.

use kiln_document::Report;
use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_pipeline::Loaded;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Arch, Os, Plan, Stage};
use kiln_pipeline::reach::Reach;
use kiln_pipeline::requirements::Requirement;

use crate::args::GivenArgs;

/// The place where the stages would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On VMs of this machine.
    Here,
    /// On a runner's instances.
    Runner,
}

/// Adds findings that prevent a run of the selected stages, and leaves out findings about others.
pub fn check(loaded: &mut Loaded, given: &GivenArgs, facts: &Facts, place: Place) {
    let Loaded { report, plan, .. } = loaded;
    let Some(plan) = plan else { return };
    if !given.stage.is_empty() {
        unknown_stages(report, plan, &given.stage);
        report.confine(&given.stage);
    }
    let reach = Reach::new(plan, &given.stage, facts, &given.var);
    for node in &plan.stages.nodes {
        let stage = &node.item;
        let found = reach.stage(stage).then(|| unfit(stage, place)).flatten();
        // The dialect may already have reported it about this very word.
        let is_told =
            |of: &Diagnostic| report.diagnostics.iter().any(|other| (other.code, &other.part) == (of.code, &of.part));
        report.diagnostics.extend(found.filter(|found| !is_told(found)));
    }
}

/// Required values that were not given.
pub struct Missing {
    /// Secrets.
    pub secrets: Vec<Requirement>,
    /// Values of `<+input>`s.
    pub inputs: Vec<Requirement>,
}

/// Finds the values that a run of the selected stages requires, except secrets with these names.
pub fn missing(plan: &Plan, given: &GivenArgs, facts: &Facts, secrets: &[&str]) -> Missing {
    let reach = Reach::new(plan, &given.stage, facts, &given.var);
    let is_missing = |secret: &Requirement| plan.dialect.find_secret(&secret.name, secrets.iter().copied()).is_none();
    let secrets = plan.secrets(&reach).into_iter().filter(is_missing).collect();
    Missing { secrets, inputs: plan.inputs(&reach) }
}

impl Missing {
    /// Returns the missing values, each with its place, a message, and advice.
    pub fn told(&self) -> impl Iterator<Item = (&Location, String, String)> {
        let secrets = self.secrets.iter().map(|Requirement { name, location }| {
            (location, format!("the secret {name} is not given"), format!("give it with --secret {name}=VALUE"))
        });
        let inputs = self.inputs.iter().map(|Requirement { name, location }| {
            let how = format!("give it with --var {name}=VALUE, or with --inputs FILE");
            (location, "a value is to be given".to_owned(), how)
        });
        secrets.chain(inputs)
    }
}

fn unknown_stages(report: &mut Report, plan: &Plan, wanted: &[String]) {
    let known: Vec<&str> = plan.stages.nodes.iter().map(|node| node.item.id.as_str()).collect();
    for id in wanted {
        // A stage that could not be read has findings.
        let is_there = known.contains(&id.as_str()) || report.diagnostics.iter().any(|f| f.part.as_deref() == Some(id));
        if !is_there {
            let message = format!("--stage {id}: no such stage");
            let found = Diagnostic::invalid("unknown-stage", &Location::default(), message);
            report.diagnostics.push(found.help(format!("there are: {}", known.join(", "))));
        }
    }
}

/// Returns the reason why a stage cannot run there.
fn unfit(stage: &Stage, place: Place) -> Option<Diagnostic> {
    let unsupported = |code, message| Diagnostic::unsupported(code, &stage.location, message).of_part(&stage.id);
    let host = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
    let (id, pool) = (&stage.id, &stage.pool);
    match place {
        _ if pool.os != Os::Linux => {
            let message = format!("the stage `{id}` asks for {}", os_name(pool.os));
            Some(unsupported("platform", message).help("stages run on Linux today"))
        }
        Place::Here if pool.arch != host => {
            let (asked, here) = (pool.arch.word(), host.word());
            let message = format!("the stage `{id}` asks for {asked}, and this machine runs {here} VMs");
            Some(unsupported("platform", message).help("run it on a runner's instances: `kiln run --runner URL`"))
        }
        Place::Runner if pool.name.is_none() => {
            let message = format!("the stage `{id}` names no pool, and a runner is asked for one by name");
            let help = "name it: `infrastructure` of type `VM` has a `poolName`, a Drone pipeline `pool: {use: NAME}`";
            Some(unsupported("no-pool", message).help(help))
        }
        Place::Here | Place::Runner => None,
    }
}

fn os_name(os: Os) -> &'static str {
    match os {
        Os::Linux => "Linux",
        Os::Windows => "Windows",
        Os::Darwin => "macOS",
    }
}
