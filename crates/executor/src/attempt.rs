//! One attempt at a step: starts it, passes its output on, waits for its end.
//!
//! The agent says how the step ended. This module decides when to stop waiting for the agent: the instance ended, the agent does not
//! answer any more, the step's time has long passed, or the run was cancelled.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::{Agent, AgentError};
use kiln_mask::Masker;
use kiln_wire::agent::{PollStepResponse, StartStepRequest, kiln::CancelRequest};
use kiln_wire::run::Event;
use tokio_util::sync::CancellationToken;

use crate::again::again;
use crate::context::Context;
use crate::fleet::error_chain;
use crate::gone::Gone;
use crate::patience::Patience;
use crate::pieces::{Piece, Pieces};
use crate::text::Decoder;

/// How an attempt ended, as far as that is known.
pub enum Outcome {
    /// The agent said how the step ended.
    Ended(Box<PollStepResponse>),
    /// The instance ended, with this evidence.
    Gone(String),
    /// The agent refused, or could not be reached any more.
    Agent(AgentError),
    /// The agent did not say in time how the step ended, although its time was up or the agent was told to end it.
    Overdue,
}

/// The place where an attempt runs, and whoever is told about it.
pub struct Place<'a> {
    /// The stage, as reports call it.
    pub stage: &'a str,
    /// The step, as reports call it.
    pub step: &'a str,
    /// The instance's agent.
    pub agent: &'a Agent,
    /// Tells when the instance ends.
    pub gone: &'a Gone,
    /// Tells when the run or the stage ends before its end.
    pub cancel: &'a CancellationToken,
    /// The run, which is told of the output.
    pub(crate) run: &'a Context<'a>,
}

impl Place<'_> {
    fn patience(&self) -> &Patience {
        &self.run.options.patience
    }

    /// Waits for something that the step needs, and tells the sink when that lasts.
    fn wait<'w, T: Send + 'w>(&'w self, what: &'w str, work: impl Future<Output = T> + Send + 'w) -> BoxFuture<'w, T> {
        self.run.wait_for((self.stage, Some(self.step)), what, work)
    }
}

/// Runs one attempt to its end.
pub async fn attempt(place: &Place<'_>, request: &StartStepRequest) -> Outcome {
    let limit = match request.timeout {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.unsigned_abs()).saturating_add(place.patience().overdue_after)),
    };
    tokio::select! {
        outcome = follow(place, request) => outcome,
        evidence = place.gone.wait() => Outcome::Gone(evidence),
        () = overdue(limit) => Outcome::Overdue,
        () = cancelled(place, &request.id) => Outcome::Overdue,
    }
}

/// Passes the output of a step on until it ends.
///
/// # Errors
/// When the output cannot be read any more.
pub async fn follow_output(place: &Place<'_>, id: &str) -> Result<(), AgentError> {
    let mut output = std::pin::pin!(place.agent.output(id, 0, place.patience().unreachable_for));
    let tell = |piece: Piece| {
        let (stage, step, Piece { text, continues, goes_on }) = (place.stage.to_owned(), place.step.to_owned(), piece);
        place.run.tell(Event::Output { stage, step, text, continues, goes_on });
    };
    // The agent masks too, but nothing in an instance is trusted.
    let mut masker = Masker::new(Arc::clone(&place.run.secrets));
    let (mut decoder, mut pieces) = (Decoder::default(), Pieces::default());
    let read = loop {
        match output.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(chunk)) => {
                let mut text = String::new();
                masker.push(&chunk.bytes, |settled| text.push_str(&decoder.push(&settled)));
                pieces.push(&text, tell);
            }
        }
    };
    let mut text = String::new();
    masker.finish(|settled| text.push_str(&decoder.push(&settled)));
    pieces.push(&(text + &decoder.finish()), tell);
    pieces.finish(tell);
    read
}

async fn follow(place: &Place<'_>, request: &StartStepRequest) -> Outcome {
    // The agent knows the step by its id, so a second start changes nothing.
    let started = again(place.patience(), || place.agent.start_step(request));
    if let Err(error) = place.wait("the step to begin", started).await {
        return Outcome::Agent(error);
    }
    let mut output = std::pin::pin!(follow_output(place, &request.id));
    let mut poll = std::pin::pin!(place.agent.poll_step(&request.id, place.patience().unreachable_for));
    let mut out_of_reach = std::pin::pin!(out_of_reach(place));
    // The agent answers for a background step as soon as it has begun. Its output is read beside the later steps.
    let (mut drained, mut broken) = (request.detach, None);
    let answer = loop {
        tokio::select! {
            answer = &mut poll => break answer,
            never = &mut out_of_reach => match never {},
            read = &mut output, if !drained => {
                drained = true;
                broken = read.err().map(|error| error_chain(&error));
            }
        }
    };
    match answer {
        // An agent that does not answer the poll does not send the output either.
        Err(error) => Outcome::Agent(error),
        Ok(answer) => {
            if !drained {
                let drained = tokio::time::timeout(place.patience().drain_within, output);
                broken = match place.wait("the rest of the output", drained).await {
                    Ok(read) => read.err().map(|error| error_chain(&error)),
                    Err(_) => Some("it did not come in time".to_owned()),
                };
            }
            if let Some(why) = broken {
                let message = format!("the rest of the output of {} is missing: {why}", place.step);
                place.run.tell(Event::Note { stage: place.stage.to_owned(), message });
            }
            Outcome::Ended(Box::new(answer))
        }
    }
}

/// Tells of each time that the agent is out of reach. Never returns.
async fn out_of_reach(place: &Place<'_>) -> Infallible {
    let mut agent = place.agent.out_of_reach();
    // Neither fails: the agent is there for longer.
    while agent.wait_for(|is_so| *is_so).await.is_ok() {
        let back = async { drop(agent.wait_for(|is_so| !*is_so).await) };
        place.wait("the agent, which does not answer", back).await;
    }
    std::future::pending().await
}

async fn overdue(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Cancels the step when the stage is told to end, and returns when the step has had its time to end.
async fn cancelled(place: &Place<'_>, id: &str) {
    place.cancel.cancelled().await;
    let request = CancelRequest { id: id.to_owned(), reason: "the run was cancelled".to_owned(), grace_ms: None };
    let ended = async {
        match place.agent.cancel(&request).await {
            Ok(()) => std::future::pending().await,
            // The instance is destroyed next, and the step with it.
            Err(error) => tracing::debug!(step = place.step, %error, "the step could not be cancelled"),
        }
    };
    // An agent that does not answer has no more time than one that does.
    let ended = tokio::time::timeout(place.patience().cancelled_within, ended);
    drop(place.wait("the end of the step, which is cancelled", ended).await);
}
