//! Reads a step's output to its end, over as many connections as that takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use kiln_wire::agent::kiln;

use crate::bulk::Body;
use crate::{Agent, AgentError, RESUME_PAUSE};

/// A piece of output, and its place in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Offset of its first byte in the step's output.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

struct Follow {
    agent: Agent,
    id: String,
    offset: u64,
    body: Option<Body>,
    unreachable_for: Duration,
    silent_since: Instant,
}

impl Agent {
    /// Reads a step's output from `offset` to its end. After a connection broke, another one goes on at the same place, until the agent
    /// was out of reach for `unreachable_for`.
    pub fn output(
        &self,
        id: &str,
        offset: u64,
        unreachable_for: Duration,
    ) -> impl Stream<Item = Result<OutputChunk, AgentError>> + Send + use<> {
        let follow = Follow {
            agent: self.clone(),
            id: id.to_owned(),
            offset,
            body: None,
            unreachable_for,
            silent_since: Instant::now(),
        };
        futures::stream::unfold(Some(follow), |state| async move {
            let mut follow = state?;
            match follow.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(follow))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

impl Follow {
    async fn next(&mut self) -> Result<Option<OutputChunk>, AgentError> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                none => {
                    let Some(answer) =
                        open(&self.agent, &self.id, self.offset, self.silent_since, self.unreachable_for).await?
                    else {
                        continue;
                    };
                    self.silent_since = Instant::now();
                    none.insert(answer)
                }
            };
            match body.next(&self.agent, kiln::OUTPUT).await {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => {
                    let offset = self.offset;
                    self.offset += bytes.len() as u64;
                    self.silent_since = Instant::now();
                    return Ok(Some(OutputChunk { offset, bytes }));
                }
                Err(_) => {
                    // The next connection asks for what comes after the bytes that arrived.
                    self.body = None;
                    self.silent_since = Instant::now();
                }
            }
        }
    }
}

/// Opens the stream at `offset`. Returns `None` when the connection failed and there is time for another try.
async fn open(
    agent: &Agent,
    id: &str,
    offset: u64,
    silent_since: Instant,
    unreachable_for: Duration,
) -> Result<Option<Body>, AgentError> {
    let request = kiln::OutputRequest { id: id.to_owned(), offset, follow: true, wait_ms: None };
    match agent.post_bulk(kiln::OUTPUT, &request).await {
        Ok(body) => Ok(Some(body)),
        Err(error) if error.is_connection() && silent_since.elapsed() < unreachable_for => {
            tokio::time::sleep(RESUME_PAUSE).await;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
