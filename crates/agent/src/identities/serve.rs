//! Answers steps at their socket.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tower::Service as _;

use crate::agent::Agent;
use crate::http::mint_router;
use crate::os::local;

/// Number of calls that are answered at a time. Further ones wait.
const CALLS: usize = 32;
/// Time limit of a call.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Pause after a failed accept: the usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// User whose process asks; none for a call that did not come over the socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks(pub(crate) Option<u32>);

/// Answers until the agent is dropped.
pub(super) async fn serve(listener: UnixListener, agent: Weak<Agent>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&calls).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a step that asks for a token is not heard");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(agent) = agent.upgrade() else { return };
        // A caller that the system does not tell is taken for a user that nobody is.
        let asks = Asks(Some(local::user_of(&stream).unwrap_or(u32::MAX)));
        let app = mint_router(agent);
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(asks);
            app.clone().call(request)
        });
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).keep_alive(false).max_buf_size(64 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // A call that takes too long is cut off.
            drop(tokio::time::timeout(CALL_WITHIN, connection).await);
            drop(place);
        });
    }
}
