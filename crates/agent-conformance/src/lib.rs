//! Holds an agent to the protocol, from outside.
//!
//! The checks know an agent by its address alone. They speak HTTP and JSON in literals of their own, and share no type
//! with the agent or with `kiln-wire`: a field that is renamed there is found here. What happens in the agent's machine
//! they see through steps that they run in it. So any agent can be held to it, also the one that ours replaces.
//!
//! The machine must be one that nobody uses: the checks set a stage up, run steps in it and end it.
//!
//! A check is a function whose name says what holds, with the section of the protocol's description that it stands for.
//! What an agent does not have to do yet (test services, the platform) is listed as well, with the reason, and counted
//! apart. The log service, and what else an agent sends to, is served by the checks themselves ([`platform`]). Where
//! the protocol's original loses work, as its timeouts that end nothing, the checks hold an agent to what every caller
//! can rely on, and the original's defect is no demand.

mod agent;
mod call;
mod checks;
mod expect;
pub mod platform;
mod report;
mod target;

use std::time::{Duration, Instant};

pub use checks::{Check, all};
pub use expect::Finding;
pub use report::{Outcome, Report, Verdict};
pub use target::{StartError, Target};

use agent::Agent;
use checks::Work;

/// A check that takes longer has failed: the agent let a caller wait for ever.
pub const CHECK_WITHIN: Duration = Duration::from_secs(90);

/// Runs the checks whose name or section contains one of `only`, or all; one after the other, because an agent serves
/// one stage. `told` hears of each verdict as it is there.
///
/// # Errors
/// When the agent does not answer, or cannot run the steps that the checks look through.
pub async fn run(target: &Target, only: &[String], mut told: impl FnMut(&Verdict)) -> Result<Report, StartError> {
    let agent = Agent::meet(target).await?;
    let mut report = Report::new(target.url(), agent.version());
    for check in all().filter(|check| check.is_one_of(only)) {
        let began = Instant::now();
        let outcome = match check.work() {
            Work::Runs(look) => match tokio::time::timeout(CHECK_WITHIN, look(&agent)).await {
                Ok(Ok(())) => Outcome::Passed,
                Ok(Err(Finding::Breach(what))) => Outcome::Failed(what),
                Ok(Err(Finding::NotApplicable(why))) => Outcome::Skipped(why),
                Err(_) => Outcome::Failed(format!("it was not done within {} s", CHECK_WITHIN.as_secs())),
            },
            Work::NotYet(why) => Outcome::NotYet((*why).to_owned()),
        };
        let verdict = Verdict { name: check.name(), section: check.section(), outcome, took: began.elapsed() };
        told(&verdict);
        report.verdicts.push(verdict);
    }
    agent.part().await;
    Ok(report)
}
