//! A container that runs, as the supervision sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptions, RemoveContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kiln_wire::agent::Cause;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::EngineError;
use crate::durations::LONGEST;
use crate::ending::{Exit, Stop, Wish};
use crate::supervise::Running;

/// How long the rest of the output is carried when the container has ended. A slow disk may need a while.
const CARRY_WITHIN: Duration = Duration::from_secs(30);
/// How long a container that was killed is waited for.
const REAP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a step that asks for a soft stop has at the end of its stage.
const SOFT_STOP_GRACE: Duration = Duration::from_secs(20);
/// What a container exits with that was ended by force.
const KILLED: i64 = 137;
/// How long it may take until the engine has noticed that memory ran out.
const NOTICED_WITHIN: Duration = Duration::from_millis(300);

/// A container that is there. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) docker: Docker,
    /// Its id, or its name while that is not known.
    pub(super) id: String,
}

impl Kept {
    async fn remove(docker: Docker, id: String) {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        if let Err(error) = docker.remove_container(&id, Some(options)).await {
            // The stage's end looks again.
            tracing::debug!(id, %error, "a container was not removed");
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(Self::remove(docker, id));
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    code: i64,
    memory_ran_out: bool,
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Container {
    kept: Arc<Kept>,
    end: JoinHandle<Result<Ended, EngineError>>,
    soft_stop: bool,
    memory_ran_out: bool,
}

impl Container {
    /// The container, which was just started; `relay` carries its output.
    pub(super) fn new(kept: Kept, relay: JoinHandle<()>, soft_stop: bool) -> Self {
        let kept = Arc::new(kept);
        let end = tokio::spawn(watch(kept.clone(), relay));
        Self { kept, end, soft_stop, memory_ran_out: false }
    }

    async fn exit(&mut self) -> io::Result<Exit> {
        let ended = (&mut self.end).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.memory_ran_out = ended.memory_ran_out;
        // Exit codes of a container are those of its processes.
        Ok(Exit::Code(i32::try_from(ended.code).unwrap_or(i32::MAX)))
    }

    /// Asks it to end, and waits as long as the wish allows.
    async fn ask(&mut self, wish: &mut Wish, grace: Duration) -> Option<io::Result<Exit>> {
        let (docker, id) = (self.kept.docker.clone(), self.kept.id.clone());
        let seconds = i32::try_from(grace.as_secs().saturating_add(1)).unwrap_or(i32::MAX);
        let docker = docker.with_timeout(LONGEST);
        let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
        // Its answer comes with the end of the container, which is waited for anyway.
        let asked = tokio::spawn(async move { docker.stop_container(&id, Some(options)).await });
        let start = Instant::now();
        let exit = loop {
            let now = self.grace_of(wish.borrow_and_update().as_ref()).min(grace);
            let hastened = async {
                // Without somebody who could wish it, it is never hastened.
                if wish.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                exit = self.exit() => break Some(exit),
                () = sleep_until(start + now) => break None,
                () = hastened => {}
            }
        };
        asked.abort();
        exit
    }

    /// How long it may take to end by itself. At the end of its stage only a step that asks for it is asked first.
    fn grace_of(&self, stop: Option<&Stop>) -> Duration {
        match stop {
            None => Duration::ZERO,
            Some(Stop { cause: Cause::Destroyed, .. }) if self.soft_stop => SOFT_STOP_GRACE,
            Some(Stop { cause: Cause::Destroyed, .. }) => Duration::ZERO,
            Some(stop) => stop.grace,
        }
    }

    async fn kill(&mut self) -> io::Result<Exit> {
        if let Err(error) = self.kept.docker.kill_container(&self.kept.id, None::<KillContainerOptions>).await {
            let error = EngineError::of("end the container", &error);
            // One that has ended meanwhile is not killed.
            if !error.is_conflict() && !error.is_missing() {
                tracing::warn!(%error, "a container is removed instead");
            }
        }
        match timeout(REAP_PATIENCE, self.exit()).await {
            Ok(exit) => exit,
            // It is removed, whatever holds it.
            Err(_) => Ok(Exit::KILLED),
        }
    }
}

impl Running for Container {
    fn ended(&mut self) -> BoxFuture<'_, io::Result<Exit>> {
        Box::pin(self.exit())
    }

    fn end(&mut self, mut wish: Wish) -> BoxFuture<'_, io::Result<Exit>> {
        Box::pin(async move {
            let grace = self.grace_of(wish.borrow_and_update().as_ref());
            if !grace.is_zero()
                && let Some(exit) = self.ask(&mut wish, grace).await
            {
                return exit;
            }
            self.kill().await
        })
    }

    /// It is found by its labels.
    fn handle(&self) -> Option<String> {
        None
    }

    fn memory_ran_out(&self) -> bool {
        self.memory_ran_out
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.end.abort();
    }
}

/// Waits for the end of a container, and for the rest of what it printed.
async fn watch(kept: Arc<Kept>, relay: JoinHandle<()>) -> Result<Ended, EngineError> {
    let code = wait(&kept).await?;
    if timeout(CARRY_WITHIN, relay).await.is_err() {
        tracing::warn!(id = kept.id, "the output of a container did not end with it");
    }
    Ok(Ended { code, memory_ran_out: code != 0 && memory_ran_out(&kept, code).await })
}

async fn wait(kept: &Kept) -> Result<i64, EngineError> {
    let docker = kept.docker.clone().with_timeout(LONGEST);
    let mut news = docker.wait_container(&kept.id, None::<WaitContainerOptions>).boxed();
    match news.next().await {
        Some(Ok(news)) => Ok(news.status_code),
        // Its client takes each exit code but zero for an error.
        Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(EngineError::of("tell of the step's end", &error)),
        None => Err(EngineError::Gone {
            what: "tell of the step's end",
            error: "it hung up without a word about the container".into(),
        }),
    }
}

/// Whether the kernel ended something in it for lack of memory. The engine may notice that a little later than the end.
async fn memory_ran_out(kept: &Kept, code: i64) -> bool {
    let start = Instant::now();
    loop {
        let looked = kept.docker.inspect_container(&kept.id, None::<InspectContainerOptions>).await;
        let ran_out = match looked {
            Ok(looked) => looked.state.and_then(|state| state.oom_killed),
            Err(error) => {
                tracing::warn!(%error, "whether memory ran out in a container is not known");
                return false;
            }
        };
        match ran_out {
            Some(true) => return true,
            Some(false) => {}
            None => tracing::warn!("the engine does not say whether memory ran out in a container"),
        }
        if code != KILLED || start.elapsed() >= NOTICED_WITHIN {
            return false;
        }
        tokio::time::sleep(NOTICED_WITHIN / 6).await;
    }
}
