//! Calls for running stages. Each is repeated while there is no answer.

use futures::{Stream, TryStreamExt as _};
use kiln_agent_client::Agent;
use kiln_wire::agent::PollStepResponse;
use kiln_wire::agent::kiln::OutputRequest;
use kiln_wire::runner::kiln::{HoldRequest, INSTANCE_HOLD, Instance, STAGE, STAGE_OUTPUT, StageDetail};
use kiln_wire::runner::{DESTROY, DestroyVmRequest, ExecuteVmRequest, SETUP, STEP, SetupVmRequest, SetupVmResponse};
use reqwest::Method;

use crate::{Runner, RunnerError, route};

impl Runner {
    /// Returns once the stage has an instance whose agent is prepared.
    ///
    /// # Errors
    /// When the stage can get no instance, or the runner stops answering.
    pub async fn set_up(&self, request: &SetupVmRequest) -> Result<SetupVmResponse, RunnerError> {
        self.persist(|| self.wait(SETUP, request)).await
    }

    /// Runs a step of a stage, and returns when it has ended.
    ///
    /// # Errors
    /// When the step was lost with its instance, or the runner stops answering. A step that fails is no error.
    pub async fn step(&self, request: &ExecuteVmRequest) -> Result<PollStepResponse, RunnerError> {
        self.persist(|| self.wait(STEP, request)).await
    }

    /// Ends a stage and its instance, even one that the runner does not know yet.
    ///
    /// # Errors
    /// When the runner stops answering.
    pub async fn destroy(&self, stage: &str) -> Result<(), RunnerError> {
        let request = DestroyVmRequest { id: stage.to_owned(), ..DestroyVmRequest::default() };
        self.persist(|| self.change(DESTROY, &request)).await
    }

    /// Lets an instance outlive its stage by this many seconds.
    ///
    /// # Errors
    /// When there is no such instance, it cannot be held, or the runner stops answering.
    pub async fn hold(&self, instance: &str, seconds: i64) -> Result<Instance, RunnerError> {
        let (path, request) = (route(INSTANCE_HOLD, "{id}", instance), HoldRequest { seconds });
        self.persist(|| self.change(&path, &request)).await
    }

    /// Returns the stage, unless the runner does not know it. Asks once.
    ///
    /// # Errors
    /// When the runner does not answer.
    pub async fn stage(&self, id: &str) -> Result<Option<StageDetail>, RunnerError> {
        Ok(self.find(&route(STAGE, "{id}", id)).await?.map(|answer| answer.message))
    }

    /// Returns the output of a step, in pieces, over one connection.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn output(
        &self,
        stage: &str,
        request: &OutputRequest,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, RunnerError>> + use<>, RunnerError> {
        let path = route(STAGE_OUTPUT, "{id}", stage);
        let answer = self.send(self.request(Method::POST, &path).json(request)).await?;
        let url = self.url.clone();
        Ok(answer.bytes_stream().map_err(move |error| RunnerError::of(&url, error)))
    }

    /// Returns a client of the agent of a stage that is set up. The runner relays all calls that a stage needs.
    #[must_use]
    pub fn agent(&self, stage: &str) -> Agent {
        Agent::through_runner(self.http.clone(), &format!("{}{}", self.url, route(STAGE, "{id}", stage)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Access, Patience};

    const PATIENCE: Patience = Patience { unreachable_for: Duration::from_secs(60), pause: Duration::from_millis(1) };

    fn runner(url: &str) -> Runner {
        kiln_tls::install_provider();
        Runner::new(url, &Access::default()).expect("a client").with_patience(PATIENCE)
    }

    /// Starts a runner that hangs up on this many callers before it answers.
    async fn restarted(hang_ups: u32, app: Router) -> Runner {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move {
            for _ in 0..hang_ups {
                drop(listener.accept().await.expect("a caller"));
            }
            axum::serve(listener, app).await.expect("a server");
        });
        runner(&url)
    }

    #[tokio::test]
    async fn a_call_is_repeated_while_nobody_answers() {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let setup = post(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { r#"{"ip_address": "127.0.0.1", "instance_id": "i"}"# }
        });
        let runner = restarted(3, Router::new().route(SETUP, setup).route(DESTROY, post(|| async {}))).await;
        let got = runner.set_up(&SetupVmRequest::default()).await.expect("an instance");
        assert_eq!((got.instance_id.as_str(), asked.load(Ordering::SeqCst), runner.repeats()), ("i", 1, 3));
        // An empty answer is valid.
        runner.destroy("s").await.expect("an answer");
    }

    #[tokio::test]
    async fn a_refusal_is_not_repeated() {
        let refusal =
            r#"{"error_msg": "stage s has ended", "code": 409, "cause": {"code": "destroyed", "evidence": "x"}}"#;
        let setup = post(move || async move { (StatusCode::CONFLICT, refusal) });
        let runner = restarted(0, Router::new().route(SETUP, setup)).await;
        let error = runner.set_up(&SetupVmRequest::default()).await.expect_err("a refusal");
        let RunnerError::Refused { status: 409, message, cause } = error else { panic!("{error:?}") };
        assert_eq!((message.as_str(), cause.map(|cause| cause.code)), ("stage s has ended", Some("destroyed".into())));
        assert_eq!(runner.repeats(), 0);
    }

    #[tokio::test]
    async fn patience_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        drop(listener);
        let hasty = runner(&url).with_patience(Patience { unreachable_for: Duration::ZERO, ..PATIENCE });
        let error = hasty.set_up(&SetupVmRequest::default()).await.expect_err("nobody is there");
        assert!(matches!(error, RunnerError::Absent { .. }), "{error:?}");
    }
}
