//! One stage on one instance: gets the instance, sends the sources, runs the steps, ends the instance.

use std::sync::{Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kiln_agent_client::AgentError;
use kiln_pipeline::plan::Stage;
use kiln_pipeline::strategy::Iteration;
use kiln_wire::run::{Event, Phase, StageReport, Status};
use tokio::sync::mpsc;

use crate::context::{Context, lock};
use crate::fleet::{Lease, Want, error_chain};
use crate::gone::Gone;
use crate::loops::Siblings;
use crate::nest::Nest;
use crate::stage_context::{Beside, StageContext};
use crate::wait::Reason;
use crate::walk::{End, walk};
use crate::why::Why;

/// What a stage waits for at first.
const AN_INSTANCE: &str = "an instance";

/// One iteration of a stage.
pub struct StageRun<'a> {
    context: StageContext<'a>,
    besides: Mutex<Option<mpsc::UnboundedReceiver<Beside<'a>>>>,
}

/// How a stage ended.
struct Ended {
    status: Status,
    message: Option<String>,
}

impl Ended {
    fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: Some(message.into()) }
    }
}

impl<'a> StageRun<'a> {
    /// `among` is the iteration of the stage, and all of them.
    pub(crate) fn new(
        run: &'a Context<'a>,
        stage: &'a Stage,
        id: &'a str,
        among: Option<(&'a Iteration, &'a Siblings)>,
    ) -> Self {
        let (iteration, siblings) = among.unzip();
        let (beside, besides) = mpsc::unbounded_channel();
        let (cancel, gone, steps) = (run.cancel.child_token(), Gone::new(), Mutex::default());
        let (ended, over) = (OnceLock::new(), OnceLock::new());
        let started = SystemTime::now();
        let context =
            StageContext { run, stage, id, iteration, siblings, started, gone, cancel, ended, over, steps, beside };
        Self { context, besides: Mutex::new(Some(besides)) }
    }

    /// Returns what its steps share.
    #[cfg(test)]
    pub(crate) fn context(&self) -> &StageContext<'a> {
        &self.context
    }

    /// Runs the stage and ends its instance, whatever happens.
    pub(crate) async fn carry_out(self) -> StageReport {
        let since = Instant::now();
        let name = self.context.stage_name();
        self.context.tell(Event::StageStarted { stage: self.context.id.to_owned(), name: name.clone() });
        let (instance, ended) = match self.acquire().await {
            Err(ended) => (None, ended),
            Ok(lease) => {
                let ended = self.on_instance(&lease).await;
                self.keep(&lease, &ended).await;
                let released = self.context.run.fleet.release(&lease);
                if let Err(error) = self.context.wait("the end of the instance", released).await {
                    self.context.note(format!("instance {} could not be ended: {}", lease.id, error_chain(&error)));
                }
                (Some(lease.id), ended)
            }
        };
        let Ended { status, message } = ended;
        let steps = std::mem::take(&mut *lock(&self.context.steps));
        StageReport {
            id: self.context.id.to_owned(),
            name,
            status,
            message,
            instance,
            duration: since.elapsed(),
            steps,
        }
    }

    async fn acquire(&self) -> Result<Lease, Ended> {
        let image = (self.context.run.images)(&self.context.stage.pool);
        self.context.environment_fits().map_err(Ended::failed)?;
        let reason = Reason::new(AN_INSTANCE);
        let waiting = |why: &str| match why {
            "" => reason.set(AN_INSTANCE.to_owned()),
            why => reason.set(format!("{AN_INSTANCE}: {why}")),
        };
        let stage = format!("{}-{}", self.context.run.id, self.context.id);
        let kept = self.context.run.options.keep_on_failure.unwrap_or_default();
        let timeout =
            self.context.stage.timeout.as_ref().map(|limit| {
                limit.time.saturating_add(kept).saturating_add(self.context.run.options.patience.end_within)
            });
        let setup = self.context.setup_request().map_err(Ended::failed)?;
        let want = Want { stage, pool: &self.context.stage.pool, image, timeout, setup };
        let acquired = self.context.run.fleet.acquire(&want, &waiting);
        tokio::select! {
            lease = self.context.run.wait((self.context.id, None), &reason, acquired) => {
                return lease.map_err(|e| Ended::failed(error_chain(&e)));
            }
            () = self.context.cancel.cancelled() => {}
        }
        let abandoned = self.context.run.fleet.abandon(&want.stage);
        self.context.wait("the end of the wait for an instance", abandoned).await;
        Err(self.cancelled())
    }

    async fn on_instance(&self, lease: &Lease) -> Ended {
        let work = async {
            let limited = async {
                match &self.context.stage.timeout {
                    None => std::future::pending().await,
                    Some(limit) => {
                        tokio::time::sleep(limit.time).await;
                        Why::StageTimeout(limit.clone())
                    }
                }
            };
            let mut work = std::pin::pin!(self.work(lease));
            tokio::select! {
                ended = &mut work => ended,
                why = limited => {
                    self.context.cancel.cancel();
                    work.await;
                    Ended::failed(why.text())
                }
            }
        };
        let watch = async {
            self.context.gone.tell(self.context.run.fleet.ended(lease).await);
            std::future::pending::<Ended>().await
        };
        tokio::select! { ended = work => ended, ended = watch => ended }
    }

    async fn work(&self, lease: &Lease) -> Ended {
        let prepared = tokio::select! {
            prepared = self.prepare(lease) => prepared.map_err(Ended::failed),
            evidence = self.context.gone.wait() => Err(Ended::failed(format!("the instance ended: {evidence}"))),
            () = self.context.cancel.cancelled() => Err(self.cancelled()),
        };
        if let Err(ended) = prepared {
            return ended;
        }
        // What goes wrong with a cache fails nothing, and what ends the stage ends the wait for it.
        let cache = self.unless_over(self.context.restore_cache(lease)).await.flatten();
        // The conditions of steps look at their own stage only, not at the stages before it.
        let sight = self.context.run.plan.dialect.sight();
        let steps = walk(&self.context.stage.steps, sight, End::Clear, |node, before| {
            self.context.node(lease, node, Nest::default(), before)
        });
        let mut steps = std::pin::pin!(steps);
        let mut besides = lock(&self.besides).take();
        let mut beside = FuturesUnordered::new();
        let end = loop {
            tokio::select! {
                end = &mut steps => break end,
                Some(more) = next_of(&mut besides) => beside.push(more),
                Some(()) = beside.next(), if !beside.is_empty() => {}
            }
        };
        while let Some(Ok(more)) = besides.as_mut().map(mpsc::UnboundedReceiver::try_recv) {
            beside.push(more);
        }
        if let (End::Clear, Some(cache)) = (end, cache) {
            self.unless_over(self.context.save_cache(lease, cache)).await;
        }
        self.end_background(lease, beside).await;
        match end {
            _ if self.context.run.cancel.is_cancelled() => self.cancelled(),
            End::Failed => Ended { status: Status::Failed, message: self.context.why().map(|why| why.text()) },
            End::Clear => Ended { status: Status::Passed, message: None },
        }
    }

    /// Waits for work, unless the stage or its instance ends first.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // There is much in it, and most stages have none.
        let work = Box::pin(work);
        tokio::select! {
            done = work => Some(done),
            _ = self.context.gone.wait() => None,
            () = self.context.cancel.cancelled() => None,
        }
    }

    /// Returns how a stage ends with its run. The report of a run that somebody cancelled says enough.
    fn cancelled(&self) -> Ended {
        let why = Some(self.context.run.why()).filter(|why| *why != Why::Asked);
        Ended { status: Status::Cancelled, message: why.map(|why| why.text()) }
    }

    /// Ends the background steps, and passes the rest of their output on.
    async fn end_background(&self, lease: &Lease, mut beside: FuturesUnordered<Beside<'a>>) {
        if beside.is_empty() || self.context.gone.is_told() {
            return;
        }
        let all = async {
            lease.agent.destroy().await?;
            while beside.next().await.is_some() {}
            Ok::<_, AgentError>(())
        };
        let ended = tokio::time::timeout(self.context.run.options.patience.background_within, all);
        let why = match self.context.wait("the end of the background steps", ended).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error_chain(&error),
            Err(_) => "the agent did not do it in time".to_owned(),
        };
        self.context.note(format!("background steps could not be ended in order: {why}"));
    }

    /// Makes the instance ready for the steps.
    async fn prepare(&self, lease: &Lease) -> Result<(), String> {
        let mut phases = lease.phases.clone();
        let mut clock = Instant::now();
        let mut phase = |name: &str| {
            phases.push(Phase { name: name.to_owned(), duration: clock.elapsed() });
            clock = Instant::now();
        };
        self.context.wait("the sources to be sent", self.context.send_sources(lease)).await?;
        phase("workspace");
        self.context.tell(Event::InstanceReady {
            stage: self.context.id.to_owned(),
            instance: lease.id.clone(),
            phases,
        });
        Ok(())
    }

    async fn keep(&self, lease: &Lease, ended: &Ended) {
        let Some(duration) = self.context.run.options.keep_on_failure else { return };
        // A stage whose time was up is worth a look too. An instance that is gone cannot be kept.
        let ends = self.context.run.cancel.is_cancelled() || self.context.gone.is_told();
        if ended.status != Status::Failed || ends {
            return;
        }
        let Some(agent) = lease.address.clone() else {
            let minutes = duration.as_secs().div_ceil(60);
            let held = self.context.run.fleet.hold(lease, duration);
            self.context.note(match self.context.wait("the instance to be held", held).await {
                Ok(_) => format!("instance {} is held for {minutes} min: kiln instance show {}", lease.id, lease.id),
                Err(error) => format!("instance {} could not be held: {}", lease.id, error_chain(&error)),
            });
            return;
        };
        self.context.tell(Event::InstanceKept {
            stage: self.context.id.to_owned(),
            instance: lease.id.clone(),
            agent,
            workspace_dir: self.context.stage.workspace_dir.clone(),
            duration,
        });
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.context.run.cancel.cancelled() => {}
            evidence = self.context.run.fleet.ended(lease) => self.context.note(format!("the kept instance ended: {evidence}")),
        }
    }
}

async fn next_of<'a>(besides: &mut Option<mpsc::UnboundedReceiver<Beside<'a>>>) -> Option<Beside<'a>> {
    match besides {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}
