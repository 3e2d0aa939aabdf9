//! Calls the services that a stage names: by HTTP/1.1, over TLS where the address says so, directly or through a proxy.
//!
//! ```text
//! Caller (one of each log; keeps a connection) ──► Web (one of a stage) ──► names, proxy, TLS
//! ```
//! Every call has a time limit that covers all of it. At most [`ANSWER_BYTES`] of an answer are read. Redirections are
//! not followed, because a token would travel with them.

mod connect;
mod proxies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use kiln_tls::{Authorities, TlsError};
use kiln_wire::agent::MtlsConfig;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;

use crate::lock::lock;
use connect::{Connected, Names, open};
use proxies::Proxies;

/// Number of bytes that are read of an answer.
const ANSWER_BYTES: usize = 64 << 10;
/// Size of the buffer of a connection.
const BUFFER_BYTES: usize = 64 << 10;
/// A connection that was unused for this long is not used again, because services hang up on such connections.
const IDLE: Duration = Duration::from_secs(20);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kiln-agent/", env!("CARGO_PKG_VERSION")));

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection can be made.
    #[error("cannot reach {to}: {source}")]
    Connect { to: String, source: std::io::Error },
    /// The proxy does not pass the connection on.
    #[error("the proxy {proxy} does not pass a connection on to {to}: {why}")]
    Proxy { proxy: String, to: String, why: String },
    /// The service cannot prove who it is, or refuses the agent.
    #[error("no TLS connection to {to}: {source}")]
    Tls { to: String, source: std::io::Error },
    /// The machine trusts no authority.
    #[error(
        "no TLS connection to {to}: the machine trusts no certificate authority; install its ca-certificates, or name a file in \
         SSL_CERT_FILE"
    )]
    NobodyTrusted { to: String },
    /// The connection broke.
    #[error("{to} broke the connection off: {source}")]
    Broken { to: String, source: hyper::Error },
    /// It took too long.
    #[error("{to} did not answer within {} s", .within.as_secs_f32())]
    TimedOut { to: String, within: Duration },
    /// The service answered with an error.
    #[error("{to} answered with {status}{}", said(.body))]
    Refused { to: String, status: StatusCode, body: Bytes },
}

impl CallError {
    /// Returns whether the same call may succeed later, because the service is not well or cannot be reached.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::NobodyTrusted { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. } => true,
        }
    }

    /// Returns the status of an answer that is an error.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::NobodyTrusted { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. } => None,
        }
    }
}

/// Returns the beginning of a refusal's text.
fn said(body: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
    if text.trim().is_empty() { String::new() } else { format!(": {:?}", text.trim()) }
}

/// A certificate that the agent shows to the services of a stage, as PEM.
struct Identity {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Why the client certificate of a request cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Only one of certificate and key is given.
    #[error("mtls_config has only one of client_cert and client_cert_key; give both or none")]
    Half,
    /// A field is not base64.
    #[error("mtls_config.{field} is not base64 of a PEM text")]
    Encoding {
        /// Which of the fields.
        field: &'static str,
    },
    /// The certificate or the key cannot be used.
    #[error("mtls_config cannot be used")]
    Tls(#[from] TlsError),
}

/// How the services of a stage are reached.
pub(crate) struct Web {
    proxies: Proxies,
    names: Names,
    identity: Option<Identity>,
    /// File and folder of the authorities that are trusted, where the environment names them.
    trusted: [Option<PathBuf>; 2],
    /// With and without the certificate, made when they are needed.
    tls: Mutex<[Option<Arc<ClientConfig>>; 2]>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

impl Web {
    /// Makes the calls of a stage with this environment, in rising rank, and this certificate.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub(crate) fn new(envs: &[&BTreeMap<String, String>], mtls: &MtlsConfig) -> Result<Self, IdentityError> {
        let get = |name: &str| envs.iter().rev().find_map(|env| env.get(name)).filter(|value| !value.is_empty());
        let web = Self {
            proxies: Proxies::of(get),
            names: Names::default(),
            identity: identity(mtls)?,
            trusted: ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| get(name).map(PathBuf::from)),
            tls: Mutex::default(),
        };
        if let Some(Identity { cert, key }) = &web.identity {
            // A certificate that does not fit its key is told now, and not when the first step ends.
            kiln_tls::service_config(&Authorities::default(), Some((cert, key)))?;
        }
        Ok(web)
    }

    /// Returns the TLS configuration with or without the stage's certificate; none where no authority is trusted.
    async fn tls(self: &Arc<Self>, shows_identity: bool) -> Result<Option<Arc<ClientConfig>>, TlsError> {
        let shows_identity = shows_identity && self.identity.is_some();
        let place = usize::from(shows_identity);
        if let Some(made) = lock(&self.tls)[place].clone() {
            return Ok(Some(made));
        }
        let web = Arc::clone(self);
        // It reads more than a hundred certificates from the disk.
        let made = tokio::task::spawn_blocking(move || {
            let [file, dir] = web.trusted.each_ref().map(|path| path.as_deref().filter(|path: &&Path| path.exists()));
            let trusted = Authorities::of_the_machine(file, dir);
            if trusted.is_empty() {
                return Ok(None);
            }
            let identity = web.identity.as_ref().filter(|_| shows_identity);
            let identity = identity.map(|Identity { cert, key }| (cert.as_slice(), key.as_slice()));
            kiln_tls::service_config(&trusted, identity).map(|config| Some(Arc::new(config)))
        });
        let made = made.await.unwrap_or(Ok(None))?;
        lock(&self.tls)[place].clone_from(&made);
        Ok(made)
    }

    /// Frees what can be made again quickly, at the end of the stage.
    pub(crate) fn forget(&self) {
        *lock(&self.tls) = [None, None];
    }
}

fn identity(mtls: &MtlsConfig) -> Result<Option<Identity>, IdentityError> {
    let MtlsConfig { client_cert, client_cert_key, client_cert_dir_path: _ } = mtls;
    match (client_cert.is_empty(), client_cert_key.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => {}
        (true, false) | (false, true) => return Err(IdentityError::Half),
    }
    let decode = |field, text: &str| STANDARD.decode(text.trim()).map_err(|_| IdentityError::Encoding { field });
    Ok(Some(Identity { cert: decode("client_cert", client_cert)?, key: decode("client_cert_key", client_cert_key)? }))
}

/// Scheme, host and port that a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an address; none when it is not `http://HOST...` or `https://HOST...`.
    pub(crate) fn of(address: &Uri) -> Option<Self> {
        let tls = match address.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return None,
        };
        let host = address.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = address.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, host, port })
    }
}

/// Reads an address that calls may go to.
pub(crate) fn address(text: &str) -> Option<Uri> {
    text.parse().ok().filter(|address| Origin::of(address).is_some())
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
}

/// Makes calls one after the other, and keeps the connection of the last one.
#[derive(Debug)]
pub(crate) struct Caller {
    web: Arc<Web>,
    kept: Option<Kept>,
}

struct Kept {
    to: (Origin, bool),
    sender: SendRequest<Body>,
    through: Option<HeaderValue>,
    absolute: bool,
    used: Instant,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Caller {
    pub(crate) fn new(web: Arc<Web>) -> Self {
        Self { web, kept: None }
    }

    /// Calls an address. `shows_identity` says whether the stage's client certificate may be shown there. The future
    /// may be dropped; then the connection is cut.
    pub(crate) async fn call(
        &mut self,
        request: Request<Body>,
        shows_identity: bool,
        within: Duration,
    ) -> Result<Answer, CallError> {
        let to = target(request.uri());
        match timeout(within, self.exchange(request, shows_identity)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TimedOut { to, within }),
        }
    }

    async fn exchange(&mut self, mut request: Request<Body>, shows_identity: bool) -> Result<Answer, CallError> {
        let to = target(request.uri());
        let mut kept = self.connection(request.uri(), shows_identity).await?;
        let broken = |source| CallError::Broken { to: to.clone(), source };
        kept.sender.ready().await.map_err(broken)?;
        prepare(&mut request, &kept);
        let answer = kept.sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let (body, whole) = read(answer.into_body()).await.map_err(broken)?;
        // The rest of an answer that was not read to its end would be taken for the next one.
        if whole {
            kept.used = Instant::now();
            self.kept = Some(kept);
        }
        if status.is_success() { Ok(Answer { body }) } else { Err(CallError::Refused { to, status, body }) }
    }

    /// Returns the connection of the last call if it leads there and is open, or a new one.
    async fn connection(&mut self, address: &Uri, shows_identity: bool) -> Result<Kept, CallError> {
        let no_address = || CallError::Connect { to: target(address), source: std::io::ErrorKind::InvalidInput.into() };
        let to = (Origin::of(address).ok_or_else(no_address)?, shows_identity);
        let usable = |kept: &Kept| kept.to == to && !kept.sender.is_closed() && kept.used.elapsed() < IDLE;
        if let Some(kept) = self.kept.take().filter(usable) {
            return Ok(kept);
        }
        let Connected { stream, through, absolute } = open(&self.web, address, &to.0, shows_identity).await?;
        let shaken =
            hyper::client::conn::http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|source| CallError::Broken { to: target(address), source })?;
        // The task ends when the sender is dropped or the peer hangs up. Senders get the error.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Kept { to, sender, through, absolute, used: Instant::now() })
    }
}

/// Puts the headers and the path that the connection needs into the request.
fn prepare(request: &mut Request<Body>, kept: &Kept) {
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host));
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, AGENT);
    if let Some(through) = &kept.through {
        headers.insert(PROXY_AUTHORIZATION, through.clone());
    }
    if !kept.absolute {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // The path of an address is an address as well.
        *request.uri_mut() = path.parse().unwrap_or_default();
    }
}

/// Returns an address for people: without the query, which may hold a signature, and without a password.
fn target(address: &Uri) -> String {
    let host = address.host().unwrap_or_default();
    let port = address.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}{}", address.scheme_str().unwrap_or_default(), address.path())
}

/// Reads the beginning of a body, and returns whether that is all of it.
async fn read(mut body: hyper::body::Incoming) -> Result<(Bytes, bool), hyper::Error> {
    let mut all = Vec::new();
    while let Some(data) = next(&mut body).await {
        all.extend_from_slice(&data?);
        if all.len() > ANSWER_BYTES {
            all.truncate(ANSWER_BYTES);
            return Ok((all.into(), false));
        }
    }
    Ok((all.into(), true))
}

async fn next(body: &mut hyper::body::Incoming) -> Option<Result<Bytes, hyper::Error>> {
    use hyper::body::Body as _;
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await?;
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}
