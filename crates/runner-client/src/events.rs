//! The runner's changes as a stream (server-sent events).

use std::collections::VecDeque;
use std::time::Duration;

use kiln_wire::runner::kiln::{self as wire, Change};
use reqwest::Method;

use crate::{Answer, Runner, RunnerError};

/// Silence after which a stream counts as dead. A living one sends something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Length of the longest line that a runner sends.
const LINE_MAX_BYTES: usize = 1 << 20;

/// A stream of changes.
pub struct Events {
    runner: Runner,
    body: reqwest::Response,
    buffer: Vec<u8>,
    ready: VecDeque<String>,
}

/// The next item of a stream.
pub enum Next {
    /// A change.
    Change(Answer<Change>),
    /// The runner ended the stream, because it stops or because the stream was open for long enough.
    End,
}

impl Runner {
    /// Opens the stream of the changes after a number, or of those from now on.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn events(&self, after: Option<i64>) -> Result<Events, RunnerError> {
        let mut request = self.request(Method::GET, wire::EVENTS);
        if let Some(seq) = after {
            request = request.header("last-event-id", seq.to_string());
        }
        let opened = tokio::time::timeout(SILENCE_MAX, self.send(request)).await;
        let body = opened.map_err(|_| RunnerError::Slow { url: self.url.clone() })??;
        Ok(Events { runner: self.clone(), body, buffer: Vec::new(), ready: VecDeque::new() })
    }
}

impl Events {
    /// Waits for the next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream breaks off, falls silent, or does not come from a runner.
    pub async fn next(&mut self) -> Result<Next, RunnerError> {
        let url = self.runner.url.clone();
        loop {
            if let Some(text) = self.ready.pop_front() {
                let message = serde_json::from_str(&text)
                    .map_err(|error| RunnerError::Malformed { url, source: error.into() })?;
                return Ok(Next::Change(Answer { text, message }));
            }
            let Ok(chunk) = tokio::time::timeout(SILENCE_MAX, self.body.chunk()).await else {
                return Err(RunnerError::Slow { url });
            };
            match chunk.map_err(|error| RunnerError::of(&url, error))? {
                Some(chunk) => self.take(&chunk)?,
                None => return Ok(Next::End),
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), RunnerError> {
        self.buffer.extend_from_slice(chunk);
        self.ready.extend(data_of(&mut self.buffer));
        if self.buffer.len() > LINE_MAX_BYTES {
            return Err(RunnerError::TooLong { url: self.runner.url.clone() });
        }
        Ok(())
    }
}

/// Takes the complete lines out of the buffer and returns their data. A runner writes each change in one line that
/// includes its number, so nothing else of the format is needed.
fn data_of(buffer: &mut Vec<u8>) -> Vec<String> {
    let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let whole: Vec<u8> = buffer.drain(..=end).collect();
    let text = String::from_utf8_lossy(&whole);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| data.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_cut_out_wherever_the_chunks_end() {
        let stream = ": hello\n\nid: 1\nevent: stage\ndata: {\"seq\":1}\n\n:\n\ndata:{\"seq\":2}\r\n\r\n";
        for size in 1..stream.len() {
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                buffer.extend_from_slice(chunk);
                found.extend(data_of(&mut buffer));
            }
            assert_eq!(found, ["{\"seq\":1}", "{\"seq\":2}"], "in chunks of {size}");
        }
    }
}
