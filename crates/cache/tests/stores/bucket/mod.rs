//! A bucket of S3 in this process. It is strict: it takes only requests that are signed as Amazon's documentation says, whose body has
//! the sum that was signed, and whose parts have the sizes that the strictest stores ask for.

mod objects;
mod signature;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;

use objects::{Answer, Objects};
use signature::Query;

pub use signature::{ACCESS_KEY, SECRET_KEY};

/// Name of the bucket.
pub const BUCKET: &str = "builds";
/// Its region.
pub const REGION: &str = "eu-test-1";
/// Most bytes of a request's body.
const BODY_MAX_BYTES: usize = 64 << 20;

/// Bytes of a body that is large.
const LARGE_BYTES: usize = 100_000;

/// What goes wrong with the next requests that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store is busy, and says so.
    Busy,
    /// The body of what is fetched breaks off in its middle, if it is large.
    CutOff,
    /// What is put is taken, and the answer says that it was not.
    LateAnswer,
    /// No part is taken any more.
    NoRoom,
}

/// A bucket that serves until it is dropped.
pub struct Bucket {
    shared: Arc<Shared>,
    at: SocketAddr,
    served: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Objects>,
    faults: Mutex<Vec<Fault>>,
    /// Method, path and range of each request that was signed well.
    seen: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

impl Bucket {
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { shared, at, served }
    }

    /// Where people say that it is.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint=http://{}&region={REGION}", self.at)
    }

    /// Lets something go wrong, once.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// The faults that nothing fitted.
    pub fn faults_left(&self) -> Vec<Fault> {
        lock(&self.shared.faults).clone()
    }

    /// The names of the objects that are there.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared.objects).names()
    }

    /// Changes an object behind the store's back.
    pub fn change(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        lock(&self.shared.objects).change(name, change);
    }

    /// How many objects are being put part by part.
    pub fn unfinished(&self) -> usize {
        lock(&self.shared.objects).unfinished()
    }

    /// Method, path and range of each request that was signed well.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.shared.seen).clone()
    }

    /// Why requests were refused.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.shared.refused).clone()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}

impl Shared {
    /// Takes a fault that is asked for.
    fn takes(&self, fault: Fault) -> bool {
        let mut faults = lock(&self.faults);
        let at = faults.iter().position(|asked| *asked == fault);
        at.map(|at| faults.remove(at)).is_some()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.expect("a body");
    if let Err(why) = signature::check(&head, &body) {
        lock(&shared.refused).push(format!("{} {}: {why}", head.method, head.uri));
        return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
    }
    let range = text(&head.headers, "range");
    lock(&shared.seen).push(format!("{} {} {range}", head.method, head.uri.path()).trim_end().to_owned());
    if shared.takes(Fault::Busy) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    let query = Query::of(&head.uri);
    let puts = head.method == Method::PUT;
    if puts && query.get("partNumber").is_some() && shared.takes(Fault::NoRoom) {
        return error(StatusCode::FORBIDDEN, "QuotaExceeded");
    }
    let path = signature::decoded(head.uri.path());
    let Some(name) = path.strip_prefix(&format!("/{BUCKET}")) else {
        return error(StatusCode::NOT_FOUND, "NoSuchBucket");
    };
    let name = name.trim_start_matches('/');
    let done = lock(&shared.objects).carry_out(&head.method, name, &query, &head.headers, body);
    if puts && query.get("partNumber").is_none() && shared.takes(Fault::LateAnswer) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    match done {
        Answer::Refused(status, code) => {
            if status == StatusCode::BAD_REQUEST {
                lock(&shared.refused).push(format!("{} {}: {code}", head.method, head.uri));
            }
            error(status, code)
        }
        Answer::Done { status, headers, body } => {
            let cut = head.method == Method::GET && body.len() > LARGE_BYTES && shared.takes(Fault::CutOff);
            let length = body.len().to_string();
            let body = if cut { cut_off(&body) } else { Body::from(body) };
            let mut response = (status, body).into_response();
            for (header, value) in headers {
                response.headers_mut().insert(header, value.parse().expect("a header"));
            }
            if cut {
                response.headers_mut().insert("content-length", length.parse().expect("a length"));
            }
            response
        }
    }
}

/// Half of a body, and then nothing more.
fn cut_off(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Body::from_stream(futures::stream::iter([Ok(half)]).chain(futures::stream::iter([Err(lost)])))
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>");
    (status, body).into_response()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().expect("text"))
}
