//! Supervision of what is no process, as it will be of containers.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use kiln_wire::agent::{Cause, OutputType, PollStepResponse, StartStepRequest};
use tokio::sync::watch;

use super::{Job, Left, Order, Running, Runtime, StartError, Started, run};
use crate::ending::{Exit, Stop, Wish};
use crate::lock::lock;
use crate::os::output::Output;
use crate::spool::{self, Limits};
use crate::step::Step;

/// A runtime whose steps do what they are told to.
#[derive(Debug, Clone, Default)]
struct Acts {
    /// How a command ends by itself; without, it runs until it is ended.
    exit: Option<Exit>,
    memory_runs_out: bool,
    refuses: bool,
    prints: &'static str,
    /// The wishes that steps were ended by.
    wishes: Arc<Mutex<Vec<Stop>>>,
}

impl Runtime for Acts {
    fn start<'a>(&'a self, order: &'a Order<'a>) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async move {
            if self.refuses {
                return Err("no such image".into());
            }
            if let Some(file) = order.hand_over.env().get("DRONE_OUTPUT") {
                std::fs::write(file, "KEY=a value\n")?;
            }
            let (reader, mut writer) = io::pipe()?;
            writer.write_all(self.prints.as_bytes())?;
            let output = Output::new(reader)?;
            Ok(Started { running: Box::new(self.clone()), output, keyboard: None, banner: "> ".into() })
        })
    }

    fn end_all(&self, _wish: Wish) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn end_left<'a>(&'a self, _left: &'a Left<'a>, _wish: Wish) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

impl Running for Acts {
    fn ended(&mut self) -> BoxFuture<'_, io::Result<Exit>> {
        let exit = self.exit;
        Box::pin(async move {
            match exit {
                Some(exit) => Ok(exit),
                None => std::future::pending().await,
            }
        })
    }

    fn end(&mut self, mut wish: Wish) -> BoxFuture<'_, io::Result<Exit>> {
        Box::pin(async move {
            // It takes its time, unless it is hastened.
            let hastened = wish.wait_for(|stop| stop.as_ref().is_some_and(|stop| stop.grace.is_zero())).await;
            lock(&self.wishes).extend(hastened.ok().and_then(|stop| stop.clone()));
            Ok(Exit::KILLED)
        })
    }

    fn handle(&self) -> Option<String> {
        None
    }

    fn memory_ran_out(&self) -> bool {
        self.memory_runs_out
    }
}

/// Runs a step; while it runs, somebody has these wishes. Gives its result and output.
async fn check(acts: &Acts, request: StartStepRequest, wishes: &[Stop]) -> (PollStepResponse, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits { bytes: 1 << 20, disk_reserve_bytes: 0 };
    let (writer, spool) = spool::create(dir.path().join("out"), limits).expect("a spool");
    let step = Arc::new(Step::new("s1".into(), String::new(), false, "mark-0".into(), spool));
    let job = Job {
        step: step.clone(),
        request,
        runtime: Arc::new(acts.clone()),
        envs: Vec::new(),
        output: Some(writer),
        secrets: Arc::default(),
        journal: None,
        annotate: None,
        delivered: None,
        engine_dir: dir.path().into(),
        kill_grace: Duration::ZERO,
        drain_grace: Duration::from_millis(500),
    };
    let (ended, told) = watch::channel(None);
    let wish = async {
        for wish in wishes {
            step.stop(wish.clone());
            tokio::task::yield_now().await;
        }
    };
    let settle = |response: &mut PollStepResponse| {
        ended.send_replace(Some(response.exit_code));
    };
    tokio::join!(run(job, settle), wish);
    let response = step.ended().expect("a result").response.clone();
    assert_eq!(*told.borrow(), Some(response.exit_code));
    (response, std::fs::read_to_string(dir.path().join("out")).expect("output"))
}

fn stop(cause: Cause, grace_s: u64) -> Stop {
    Stop { cause, reason: "why".into(), grace: Duration::from_secs(grace_s) }
}

#[tokio::test]
async fn what_is_no_process_is_carried_out_with_its_output_and_what_it_hands_over() {
    let acts = Acts { exit: Some(Exit::Code(0)), prints: "words\n", ..Acts::default() };
    let (end, output) = check(&acts, StartStepRequest::default(), &[]).await;
    assert_eq!((end.exited, end.exit_code, end.cause), (true, 0, Cause::Exited));
    assert_eq!((output.as_str(), end.output_bytes), ("> words\n", 8));
    assert_eq!(end.outputs["KEY"], "a value");
    assert_eq!(end.outputs_v2[0].kind, OutputType::Text);
}

#[tokio::test]
async fn lack_of_memory_is_told_of_what_failed_alone() {
    let acts = |code| Acts { exit: Some(Exit::Code(code)), memory_runs_out: true, ..Acts::default() };
    let (end, _) = check(&acts(0), StartStepRequest::default(), &[]).await;
    assert_eq!((end.cause, end.oom_killed), (Cause::Exited, false));
    let (end, _) = check(&acts(137), StartStepRequest::default(), &[]).await;
    assert_eq!((end.cause, end.oom_killed), (Cause::OutOfMemory, true));
}

#[tokio::test]
async fn what_cannot_be_started_fails_and_says_so_in_its_output() {
    let acts = Acts { refuses: true, ..Acts::default() };
    let (end, output) = check(&acts, StartStepRequest::default(), &[]).await;
    assert_eq!((end.exit_code, end.cause, end.error.as_str()), (255, Cause::Failed, "no such image"));
    assert_eq!(output, "no such image\n");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_what_is_no_process() {
    let acts = Acts::default();
    let request = StartStepRequest { timeout: 3600, ..StartStepRequest::default() };
    let (end, _) = check(&acts, request, &[]).await;
    assert_eq!((end.cause, end.exit_code, end.signal), (Cause::Timeout, 255, 9));
    assert_eq!(lock(&acts.wishes)[0].cause, Cause::Timeout);
}

#[tokio::test]
async fn a_second_wish_hastens_the_end_and_the_first_one_is_its_cause() {
    let acts = Acts::default();
    let wishes = [stop(Cause::Cancelled, 600), stop(Cause::Destroyed, 0)];
    let (end, _) = check(&acts, StartStepRequest::default(), &wishes).await;
    assert_eq!((end.cause, end.cancel_reason.as_str()), (Cause::Cancelled, "why"));
    assert_eq!(lock(&acts.wishes).as_slice(), [stop(Cause::Cancelled, 0)]);
}
