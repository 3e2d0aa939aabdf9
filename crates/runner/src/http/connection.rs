//! One connection: its handshake, its requests, and its time limits.
//!
//! | a peer that | is disconnected after |
//! |---|---|
//! | does not finish its handshake, or sends no request | [`HEADER_WITHIN`] |
//! | sends no further request | [`IDLE`] |
//! | does not read its answer | the settings' `unread_for` |

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Time within which a peer must finish its TLS handshake, and then send the header of its first request.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// Time within which the header of each further request must arrive. Until then the connection idles.
const IDLE: Duration = Duration::from_secs(75);

/// The service that answers requests.
pub(super) type App = TowerToHyperService<axum::Router>;

/// The context of a connection.
pub(super) struct Connected {
    pub(super) tls: Option<TlsAcceptor>,
    /// When cancelled, the request that is being answered is the last one.
    pub(super) stop: CancellationToken,
    /// Time after which a peer that reads nothing of its answer is disconnected.
    pub(super) unread_for: Duration,
}

/// The number of open connections.
#[derive(Debug, Default)]
pub(super) struct Open(AtomicI64);

/// An open connection, counted as long as this exists.
pub(super) struct One(Arc<Open>);

impl Open {
    pub(super) fn one_more(self: Arc<Self>) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self)
    }

    pub(super) fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream with or without TLS. One type for both keeps the protocol from being compiled twice.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves a connection until its peer, the runner or a limit ends it.
pub(super) async fn handle(stream: TcpStream, app: App, connected: Connected) {
    // Small answers must not wait for more data. If this fails, they are merely late.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(connected.unread_for));
    let stream = Box::pin(stream);
    let Connected { tls, stop, .. } = connected;
    let Some(tls) = tls else { return talk(Box::new(stream), app, stop).await };
    match tokio::time::timeout(HEADER_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(Box::new(stream), app, stop).await,
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
        Err(_) => tracing::info!("TLS handshake took too long"),
    }
}

async fn talk(stream: Box<dyn Stream>, app: App, stop: CancellationToken) {
    let (asked, first) = oneshot::channel::<()>();
    let asked = Mutex::new(Some(asked));
    let app = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        drop(asked.lock().unwrap_or_else(PoisonError::into_inner).take());
        app.call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let connection = builder.serve_connection(TokioIo::new(stream), app);
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        // The first request drops the sender.
        if tokio::time::timeout(HEADER_WITHIN, first).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return tracing::debug!("a peer without a request is disconnected"),
        () = stop.cancelled() => {
            // Requests that are being answered continue.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Err(error) if timed_out(&error) => tracing::info!("a peer that does not read its answer is disconnected"),
        Err(error) => tracing::debug!(%error, "connection ended"),
        Ok(()) => {}
    }
}

/// Returns whether an error comes from a peer that does not read.
fn timed_out(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    /// Returns the answer to a peer that sends this text and then nothing, and the time until it is disconnected.
    async fn answered(said: &str) -> (String, Duration) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let app = TowerToHyperService::new(axum::Router::new().route("/", axum::routing::get(|| async { "here" })));
        let talking = tokio::spawn(talk(Box::new(theirs), app, CancellationToken::new()));
        let (mut reader, mut writer) = tokio::io::split(ours);
        writer.write_all(said.as_bytes()).await.expect("said");
        let (began, mut answer) = (Instant::now(), Vec::new());
        reader.read_to_end(&mut answer).await.expect("an end");
        talking.await.expect("no panic");
        (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_hung_up_on() {
        for said in ["", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let (_, after) = answered(said).await;
            assert!(after <= HEADER_WITHIN + Duration::from_secs(1), "{said:?} after {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_may_idle_for_a_while() {
        let (answer, after) = answered("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert!(after >= IDLE, "after {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_hung_up_on() {
        const UNREAD_FOR: Duration = Duration::from_secs(60);
        let endless = || async {
            let chunks =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[0; 1024])));
            axum::body::Body::from_stream(chunks)
        };
        let app = TowerToHyperService::new(axum::Router::new().route("/", axum::routing::get(endless)));
        let (mut ours, theirs) = tokio::io::duplex(64 << 10);
        let mut theirs = TimeoutStream::new(theirs);
        theirs.set_write_timeout(Some(UNREAD_FOR));
        let talking = tokio::spawn(talk(Box::new(Box::pin(theirs)), app, CancellationToken::new()));
        ours.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("said");
        // A peer that reads a little now and then is slow, but is served.
        let mut piece = vec![0; 60 << 10];
        for _ in 0..5 {
            tokio::time::advance(UNREAD_FOR / 2).await;
            ours.read_exact(&mut piece).await.expect("more");
        }
        let began = Instant::now();
        tokio::time::timeout(UNREAD_FOR * 2, talking).await.expect("an end").expect("no panic");
        assert!(began.elapsed() >= UNREAD_FOR / 2, "after {:?}", began.elapsed());
    }
}
