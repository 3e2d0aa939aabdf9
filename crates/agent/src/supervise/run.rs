//! Supervises one step from its start to its result.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_wire::agent::{Cause, PollStepResponse, StartStepRequest};
use tokio::sync::watch;

use super::pump::Pump;
use super::secrets_file::SecretsFile;
use super::{HandOver, Order, Prelude, Running, Runtime, StartError, Started, result};
use crate::annotations::FILE_BYTES;
use crate::durations::positive_seconds;
use crate::ending::{Exit, Stop};
use crate::journal::{Journal, Record};
use crate::log_service::Delivered;
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
    /// What it writes down as annotations is handed to this when it has succeeded.
    pub(crate) annotate: Option<Annotate>,
    /// Its log on the way to the service.
    pub(crate) delivered: Option<Delivered>,
    /// Where steps exchange files with the agent.
    pub engine_dir: PathBuf,
    /// Time between the request to end and the end by force.
    pub kill_grace: Duration,
    /// How long output is read after the command ended.
    pub drain_grace: Duration,
}

/// Takes the text of a step's annotations.
pub(crate) struct Annotate(pub(crate) Box<dyn FnOnce(String) + Send + Sync>);

impl std::fmt::Debug for Annotate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Annotate")
    }
}

/// Runs a step and publishes its result, whatever happens. Before it is published, `settle` may have a look at it, and
/// change it.
pub async fn run(mut job: Job, settle: impl FnOnce(&mut PollStepResponse) + Send) {
    let step = job.step.clone();
    let delivered = job.delivered.take();
    let start = Instant::now();
    let mut response = guarded(&step.id, supervise(job)).await;
    settle(&mut response);
    response.duration_ms = start.elapsed().as_millis() as u64;
    response.output_bytes = step.spool.progress().len;
    tracing::info!(step = %step.id, exit_code = response.exit_code, cause = response.cause.as_str(), "step ended");
    if let Some(delivered) = delivered {
        // Whoever hears of the end finds the log where it should be, if that is not held up.
        delivered.settled().await;
    }
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
    let Some(output) = job.output.take() else { return result::broken("the step has run already") };
    let annotate = job.annotate.take();
    let prelude = Prelude::new(Masker::new(job.secrets.clone()), output);
    let mut time_is_up = std::pin::pin!(time_is_up(&job));
    let started = tokio::select! {
        biased;
        started = start(&job, &prelude, &hand_over) => started,
        // What it has begun is undone with the future.
        stop = to_end(&job, time_is_up.as_mut()) => {
            prelude.close();
            hand_over.clean_up();
            return stop.map_or_else(|| result::broken("its end was not wished"), |stop| result::stopped(&stop));
        }
    };
    let started = match started {
        Ok(started) => print(&job, started, prelude, &hand_over).await,
        Err(error) => {
            // People look for the reason in the output.
            prelude.say(&error.to_string());
            prelude.close();
            Err(error)
        }
    };
    let (mut running, pump) = match started {
        Ok(started) => started,
        Err(error) => {
            hand_over.clean_up();
            return result::failed(&error);
        }
    };
    let outcome = wait(&job, running.as_mut(), time_is_up).await;
    pump.finish().await;
    let (exit, stop) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            hand_over.clean_up();
            return result::lost(&error);
        }
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
        let succeeded = response.exit_code == 0;
        secrets.add(hand_over.collect(succeeded, &mut response));
        if let Some(Annotate(annotate)) = annotate.filter(|_| succeeded)
            && let Some(text) = hand_over.annotations(FILE_BYTES)
        {
            annotate(text);
        }
        hand_over.clean_up();
        response
    });
    collected.await.unwrap_or_else(|_| result::broken("its outputs cannot be read"))
}

async fn start(job: &Job, prelude: &Prelude, hand_over: &HandOver) -> Result<Started, StartError> {
    let Job { request, envs, engine_dir, .. } = job;
    let order = Order { request, mark: &job.step.mark, envs, engine_dir, hand_over, prelude };
    let started = job.runtime.start(&order).await?;
    if let (Some(journal), Some(handle)) = (&job.journal, started.running.handle())
        && let Err(error) = journal.write(&Record::Runs { mark: job.step.mark.clone(), handle })
    {
        // Its mark is written down, so it is only harder to find.
        tracing::warn!(%error, "what a step is found by is not written down");
    }
    Ok(started)
}

/// Lets the output of a step that was started go the way of all output.
async fn print(
    job: &Job,
    started: Started,
    prelude: Prelude,
    hand_over: &HandOver,
) -> Result<(Box<dyn Running>, Pump), StartError> {
    if let Some(keyboard) = started.keyboard {
        job.step.give_keyboard(keyboard);
    }
    let (masker, output) = prelude.into_parts();
    let written_down = SecretsFile::new(hand_over.secrets_file().to_owned(), job.secrets.clone());
    let masker = (masker, written_down);
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
async fn wait(
    job: &Job,
    running: &mut dyn Running,
    time_is_up: Pin<&mut impl Future<Output = ()>>,
) -> io::Result<(Exit, Option<Stop>)> {
    let stop = tokio::select! {
        biased;
        exit = running.ended() => return exit.map(|exit| (exit, None)),
        stop = to_end(job, time_is_up) => stop,
    };
    let exit = running.end(job.step.stops()).await?;
    Ok((exit, stop))
}

/// Waits until the step has had the time that it may take, its start included.
fn time_is_up(job: &Job) -> impl Future<Output = ()> + use<> {
    let limit = positive_seconds(job.request.timeout);
    async move {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    }
}

/// Waits until the step is to be ended: somebody wishes it, or its time is up.
async fn to_end(job: &Job, time_is_up: Pin<&mut impl Future<Output = ()>>) -> Option<Stop> {
    let mut stops = job.step.stops();
    let wished = async {
        // The sender lives as long as the step.
        if stops.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = wished => {}
        () = time_is_up => job.step.stop(Stop { cause: Cause::Timeout, reason: String::new(), grace: kill_grace(job) }),
    }
    job.step.stops().borrow().clone()
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
