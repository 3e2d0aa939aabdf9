//! Transfers whose other end may be slow: the sources of a stage, files of a VM, typed input.
//!
//! HTTP/1.1 has no pings, and a VM that stands still leaves its connections open. So while a transfer stands still, the client asks
//! over the control connection whether the agent still answers.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_wire::agent::{self as wire, kiln};
use reqwest::Method;

use crate::connection::Slot;
use crate::{Agent, AgentError, PING_EVERY, decode, send};

/// The body of an answer, and its place among the transfers that run.
pub(crate) struct Body {
    bytes: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    _slot: Slot,
}

impl Body {
    /// Returns the next bytes, and none at the end.
    ///
    /// # Errors
    /// When the connection broke, or the agent fell silent.
    pub(crate) async fn next(&mut self, agent: &Agent, path: &'static str) -> Result<Option<Bytes>, AgentError> {
        let next = async { self.bytes.next().await.transpose().map_err(|e| AgentError::of(path, e)) };
        agent.unless_silent(path, next).await
    }
}

impl Agent {
    /// Unpacks a tar stream (zstd) into `dir`, an absolute path in the VM.
    pub async fn put_workspace(
        &self,
        dir: &str,
        tar_zstd: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<kiln::UnpackedResponse, AgentError> {
        let _slot = self.bulk.slot().await;
        let request = self
            .request(&self.bulk.http, Method::PUT, kiln::WORKSPACE)
            .query(&[("path", dir)])
            .header("content-encoding", "zstd");
        let request = request.body(reqwest::Body::wrap_stream(tar_zstd));
        let sent = async { decode(kiln::WORKSPACE, send(kiln::WORKSPACE, request).await?).await };
        self.unless_silent(kiln::WORKSPACE, sent).await
    }

    /// Fetches files as a tar stream (zstd).
    pub async fn files(
        &self,
        request: &kiln::FilesRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, AgentError>>, AgentError> {
        let body = self.post_bulk(kiln::FILES, request).await?;
        let state = Some((body, self.clone()));
        let stream = futures::stream::unfold(state, |state| async move {
            let (mut body, agent) = state?;
            match body.next(&agent, kiln::FILES).await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some((body, agent)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(stream.boxed())
    }

    /// Types into the terminal of a step until the stream ends.
    pub async fn input(&self, id: &str, bytes: BoxStream<'static, std::io::Result<Bytes>>) -> Result<(), AgentError> {
        let _slot = self.bulk.slot().await;
        let request = self.request(&self.bulk.http, Method::PUT, kiln::INPUT).query(&[("id", id)]);
        let request = request.body(reqwest::Body::wrap_stream(bytes));
        let sent = async { decode::<wire::Empty>(kiln::INPUT, send(kiln::INPUT, request).await?).await };
        self.unless_silent(kiln::INPUT, sent).await.map(drop)
    }

    /// Asks for an answer whose body may have any length.
    pub(crate) async fn post_bulk<Q: serde::Serialize>(
        &self,
        path: &'static str,
        body: &Q,
    ) -> Result<Body, AgentError> {
        let slot = self.bulk.slot().await;
        let answer = send(path, self.request(&self.bulk.http, Method::POST, path).json(body));
        let answer = self.unless_silent(path, answer).await?;
        Ok(Body { bytes: answer.bytes_stream().boxed(), _slot: slot })
    }

    /// Returns what `work` returns.
    ///
    /// # Errors
    /// The error of `work`, or [`AgentError::Silent`] when the agent stops answering before `work` is done.
    pub(crate) async fn unless_silent<T>(
        &self,
        path: &'static str,
        work: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.silent() => Err(AgentError::Silent { path }),
        }
    }

    /// Returns when the agent does not answer any more. Never returns for an agent behind a runner, which ends such transfers itself.
    async fn silent(&self) {
        if self.passed_on {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(PING_EVERY).await;
            if self.health().await.is_err_and(|error| error.is_connection()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::HEALTH_WITHIN;
    use crate::connection::Bulk;

    /// Answers output with its first bytes and no more, and health as it is told.
    async fn answer(mut stream: TcpStream, is_there: bool) {
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request).await {
            let health = request[..length].starts_with(b"GET /healthz");
            let text = match (health, is_there) {
                (false, _) => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
                (true, true) => "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}",
                (true, false) => "",
            };
            stream.write_all(text.as_bytes()).await.expect("it reads");
        }
    }

    /// The output of an agent that says no more after the first bytes.
    async fn begun(is_there: bool) -> (Agent, Body) {
        kiln_tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, is_there));
            }
        });
        let client = || reqwest::Client::builder().no_proxy().build().expect("a client");
        let agent = Agent { bulk: Bulk::new(client()), base, ..Agent::through_runner(client(), "") };
        let agent = Agent { passed_on: false, ..agent };
        let mut body = agent.post_bulk(kiln::OUTPUT, &kiln::OutputRequest::default()).await.expect("an answer");
        let first = body.next(&agent, kiln::OUTPUT).await.expect("bytes").expect("bytes");
        assert_eq!(first, "first");
        (agent, body)
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_falls_silent_under_a_transfer_is_noticed() {
        let (agent, mut body) = begun(false).await;
        let began = Instant::now();
        let next = tokio::time::timeout(Duration::from_secs(3600), body.next(&agent, kiln::OUTPUT)).await;
        let error = next.expect("it is waited for without end").expect_err("it says nothing");
        assert!(matches!(error, AgentError::Silent { .. }) && error.is_connection(), "{error:?}");
        assert!(began.elapsed() <= PING_EVERY + HEALTH_WITHIN + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_silent_for_hours_is_waited_for() {
        let (agent, mut body) = begun(true).await;
        let next = tokio::time::timeout(Duration::from_secs(3600), body.next(&agent, kiln::OUTPUT)).await;
        assert!(next.is_err(), "its agent is there");
    }
}
