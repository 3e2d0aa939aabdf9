//! Supervises one step from its start to its result.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_wire::agent::{Cause, PollStepResponse, StartStepRequest};
use tokio::sync::watch;

use super::pump::Pump;
use super::{HandOver, Order, Running, Runtime, StartError, result};
use crate::durations::positive_seconds;
use crate::ending::{Exit, Stop};
use crate::journal::{Journal, Record};
use crate::spool::Writer;
use crate::step::Step;
use kiln_mask::{Masker, Secrets};

/// What a step needs beside its request.
#[derive(Debug)]
pub struct Job {
    /// The step.
    pub step: Arc<Step>,
    /// The request.
    pub request: StartStepRequest,
    /// What it runs in.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Environment of the agent, of the stage, and what earlier steps exported, in rising rank.
    pub envs: Vec<BTreeMap<String, String>>,
    /// Where output goes.
    pub output: Option<Writer>,
    /// What is masked in it.
    pub secrets: Arc<Secrets>,
    /// Where it is written down what the step is found by, so that a later process of the agent can end it.
    pub(crate) journal: Option<Arc<Journal>>,
    /// Where steps exchange files with the agent.
    pub engine_dir: PathBuf,
    /// Time between the request to end and the end by force.
    pub kill_grace: Duration,
    /// How long output is read after the command ended.
    pub drain_grace: Duration,
}

/// Runs a step and publishes its result, whatever happens. Before it is published, `settle` may have a look at it, and change it.
pub async fn run(job: Job, settle: impl FnOnce(&mut PollStepResponse) + Send) {
    let step = job.step.clone();
    let start = Instant::now();
    let mut response = guarded(&step.id, supervise(job)).await;
    settle(&mut response);
    response.duration_ms = start.elapsed().as_millis() as u64;
    response.output_bytes = step.spool.progress().len;
    tracing::info!(step = %step.id, exit_code = response.exit_code, cause = response.cause.as_str(), "step ended");
    step.finish(response);
}

/// Runs it as a task of its own, so that a panic in it still gives a result.
async fn guarded(id: &str, work: impl Future<Output = PollStepResponse> + Send + 'static) -> PollStepResponse {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(step = id, %error, "supervision of a step broke");
        result::broken("a defect of the agent, see its log")
    })
}

async fn supervise(mut job: Job) -> PollStepResponse {
    let hand_over = HandOver::new(&job.engine_dir, &job.request);
    let (mut running, pump) = match start(&mut job, &hand_over).await {
        Ok(started) => started,
        Err(error) => {
            if let Some(mut output) = job.output.take() {
                // People look for the reason in the output.
                let mut masker = Masker::new(job.secrets.clone());
                masker.push(format!("{error}\n").as_bytes(), |settled| output.write(settled));
                masker.finish(|settled| output.write(settled));
                output.finish();
            }
            hand_over.clean_up();
            return result::failed(&error);
        }
    };
    let outcome = wait(&job, running.as_mut()).await;
    pump.finish().await;
    let (exit, stop) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return result::broken(&format!("its exit status cannot be read: {error}")),
    };
    let memory_ran_out = exit != Exit::Code(0) && running.memory_ran_out();
    drop(running);
    let mut response = result::ended(exit, stop.as_ref(), memory_ran_out);
    if hand_over.is_empty() {
        // As for most steps; another thread would cost more than the look.
        return response;
    }
    let secrets = job.secrets.clone();
    let collected = tokio::task::spawn_blocking(move || {
        secrets.add(hand_over.collect(response.exit_code == 0, &mut response));
        hand_over.clean_up();
        response
    });
    collected.await.unwrap_or_else(|_| result::broken("its outputs cannot be read"))
}

async fn start(job: &mut Job, hand_over: &HandOver) -> Result<(Box<dyn Running>, Pump), StartError> {
    let Job { request, envs, engine_dir, .. } = &*job;
    let order = Order { request, mark: &job.step.mark, envs, engine_dir, hand_over };
    let started = job.runtime.start(&order).await?;
    if let (Some(journal), Some(handle)) = (&job.journal, started.running.handle())
        && let Err(error) = journal.write(&Record::Runs { mark: job.step.mark.clone(), handle })
    {
        // Its mark is written down, so it is only harder to find.
        tracing::warn!(%error, "what a step is found by is not written down");
    }
    if let Some(keyboard) = started.keyboard {
        job.step.give_keyboard(keyboard);
    }
    let masker = Masker::new(job.secrets.clone());
    let output = job.output.take().ok_or("the step has run already")?;
    let pump = Pump::start(started.output, masker, output, started.banner.into_bytes(), job.drain_grace);
    match pump {
        Ok(pump) => Ok((started.running, pump)),
        Err(error) => {
            let mut running = started.running;
            let now = Stop { cause: Cause::Failed, reason: String::new(), grace: Duration::ZERO };
            drop(running.end(watch::Sender::new(Some(now)).subscribe()).await);
            Err(format!("cannot read what it prints: {error}").into())
        }
    }
}

/// Waits for the command; ends all that it started when time is up or somebody wishes it.
async fn wait(job: &Job, running: &mut dyn Running) -> io::Result<(Exit, Option<Stop>)> {
    let limit = positive_seconds(job.request.timeout);
    let mut stops = job.step.stops();
    let timeout = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let wished = async {
        // The sender lives as long as the step.
        if stops.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        exit = running.ended() => return exit.map(|exit| (exit, None)),
        () = wished => {}
        () = timeout => job.step.stop(Stop { cause: Cause::Timeout, reason: String::new(), grace: kill_grace(job) }),
    }
    let stop = job.step.stops().borrow().clone();
    let exit = running.end(job.step.stops()).await?;
    Ok((exit, stop))
}

/// The agent's grace, or what the request's own terms amount to.
fn kill_grace(job: &Job) -> Duration {
    let terms = &job.request.process_config;
    let product = terms.kill_process_max_sigterm_attempts.saturating_mul(terms.kill_process_retry_interval_secs);
    match u64::try_from(product) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds.min(600)),
        _ => job.kill_grace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect 2: a panic lost the step, and its poller waited for ever.
    #[tokio::test]
    async fn defect_2_a_panic_still_ends_the_step() {
        let response = guarded("s1", async { panic!("on purpose") }).await;
        assert_eq!((response.exited, response.exit_code, response.cause), (true, 255, Cause::Failed));
    }
}
