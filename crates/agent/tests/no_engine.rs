//! Steps in containers where no engine answers.

mod rig;

use std::time::Duration;

use kiln_wire::agent::{Cause, PollStepResponse};
use rig::{Rig, step};
use serde_json::json;

async fn without_engine(host: &str) -> PollStepResponse {
    let rig = Rig::with(|settings| {
        settings.engine_host = host.into();
        settings.engine_patience = Duration::from_millis(300);
    })
    .await;
    rig.client.ok("/setup", &json!({"network": {"id": "net"}})).await;
    let mut request = step("s1", "true");
    request.image = "busybox".into();
    let end = rig.client.run(&request).await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::Failed));
    assert_eq!(rig.client.output("s1", 0).await, format!("{}\n", end.error));
    // Steps on the host need none, and neither do suspend and destroy.
    assert_eq!(rig.client.run(&step("s2", "true")).await.exit_code, 0);
    rig.client.ok("/suspend", &json!({})).await;
    rig.client.ok("/destroy", &json!({})).await;
    end
}

#[tokio::test]
async fn an_engine_that_is_missing_is_told_with_what_to_do() {
    let error = without_engine("unix:///tmp/kiln-there-is-none.sock").await.error;
    assert!(error.contains("/tmp/kiln-there-is-none.sock"), "{error}");
    // Which of the two depends on whether one is installed here.
    assert!(error.contains("install Docker") || error.contains("systemctl status docker"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_no_socket_is_told_with_what_to_do() {
    let error = without_engine("tcp://127.0.0.1:2375").await.error;
    assert_eq!(
        error,
        "DOCKER_HOST=\"tcp://127.0.0.1:2375\" of the agent's settings is not usable: give the engine's socket as unix:///PATH"
    );
}

#[tokio::test]
async fn a_socket_where_nobody_listens_is_told_with_how_long_it_was_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let error = without_engine(&format!("unix://{}", socket.display())).await.error;
    assert!(error.contains("does not answer within 0 s") && error.contains("systemctl status docker"), "{error}");
}

#[tokio::test]
async fn a_step_that_is_pulled_or_waited_for_can_be_cancelled_and_times_out() {
    // Nobody listens there, and the agent would wait for long.
    let rig = Rig::with(|settings| {
        settings.engine_host = "unix:///tmp/kiln-nobody.sock".into();
        settings.engine_patience = Duration::from_secs(1000);
    })
    .await;
    let mut request = step("s1", "true");
    (request.image, request.timeout) = ("busybox".into(), 1);
    let end = rig.client.run(&request).await;
    assert_eq!((end.cause, end.error.as_str()), (Cause::Timeout, "context deadline exceeded"));
    (request.id, request.timeout) = ("s2".into(), 0);
    rig.client.ok("/start_step", &request).await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s2"})).await;
    assert_eq!(rig.client.poll("s2").await.cause, Cause::Cancelled);
}
