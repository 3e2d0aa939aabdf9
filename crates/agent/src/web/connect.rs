//! A connection to a service: its addresses, a proxy, TLS.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, Uri};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{CallError, Origin, Web, target};
use crate::lock::lock;
use crate::os::net;

/// How long one address of a name is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long the addresses of a name are remembered.
const NAME_LASTS: Duration = Duration::from_secs(60);
/// Largest number of names that are remembered.
const NAMES: usize = 16;

/// A connection with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that requests can be sent on.
pub(super) struct Connected {
    pub(super) stream: Box<dyn Stream>,
    /// Credentials that a proxy wants with each request.
    pub(super) through: Option<HeaderValue>,
    /// Whether requests name the whole address, because a proxy passes them on.
    pub(super) absolute: bool,
}

/// Addresses of names that were looked up lately.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>);

impl Names {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        if let Some((at, known)) = lock(&self.0).get(host)
            && at.elapsed() < NAME_LASTS
        {
            return Ok(known.clone());
        }
        let found = net::addresses(host).await?;
        let mut names = lock(&self.0);
        if names.len() >= NAMES {
            names.clear();
        }
        names.insert(host.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }
}

/// Opens a connection.
pub(super) async fn open(
    web: &Arc<Web>,
    address: &Uri,
    to: &Origin,
    shows_identity: bool,
) -> Result<Connected, CallError> {
    let Some(proxy) = web.proxies.to(address) else {
        let stream = tcp(web, &to.host, to.port, address).await?;
        let stream =
            if to.tls { tls(web, Box::new(stream), to, address, shows_identity).await? } else { Box::new(stream) };
        return Ok(Connected { stream, through: None, absolute: false });
    };
    let stream = to_proxy(web, &proxy, address).await?;
    if !to.tls {
        return Ok(Connected { stream, through: proxy.basic_auth().cloned(), absolute: true });
    }
    let stream = tunnel(stream, &proxy, to, address).await?;
    let stream = tls(web, stream, to, address, shows_identity).await?;
    Ok(Connected { stream, through: None, absolute: false })
}

async fn tcp(web: &Web, host: &str, port: u16, address: &Uri) -> Result<TcpStream, CallError> {
    let unreachable = |source| CallError::Connect { to: target(address), source };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for ip in web.names.addresses(host).await.map_err(unreachable)? {
        match timeout(CONNECT_WITHIN, TcpStream::connect(SocketAddr::new(ip, port))).await {
            Ok(Ok(stream)) => {
                // Small requests must not wait for more; where it cannot be set they are merely late.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(unreachable(last))
}

async fn to_proxy(web: &Arc<Web>, proxy: &Intercept, address: &Uri) -> Result<Box<dyn Stream>, CallError> {
    let failed = |why: String| CallError::Proxy { proxy: target(proxy.uri()), to: target(address), why };
    let Some(at) = Origin::of(proxy.uri()) else {
        return Err(failed("only proxies with an http or https address are known".to_owned()));
    };
    let stream = tcp(web, &at.host, at.port, proxy.uri()).await?;
    if at.tls { tls(web, Box::new(stream), &at, proxy.uri(), false).await } else { Ok(Box::new(stream)) }
}

/// Asks a proxy to pass everything on to the service.
async fn tunnel(
    stream: Box<dyn Stream>,
    proxy: &Intercept,
    to: &Origin,
    address: &Uri,
) -> Result<Box<dyn Stream>, CallError> {
    let failed = |why: String| CallError::Proxy { proxy: target(proxy.uri()), to: target(address), why };
    let broken = |error: hyper::Error| failed(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    let host = format!("{}:{}", to.host, to.port);
    let mut request = Request::builder().method(Method::CONNECT).uri(&host).header(HOST, &host);
    if let Some(auth) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, auth);
    }
    let request = request.body(Body::empty()).map_err(|error| failed(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    if !answer.status().is_success() {
        return Err(failed(format!("it answered with {}", answer.status())));
    }
    let passed = hyper::upgrade::on(answer).await.map_err(broken)?;
    Ok(Box::new(TokioIo::new(passed)))
}

async fn tls(
    web: &Arc<Web>,
    stream: Box<dyn Stream>,
    to: &Origin,
    address: &Uri,
    shows_identity: bool,
) -> Result<Box<dyn Stream>, CallError> {
    let failed = |source| CallError::Tls { to: target(address), source };
    let config = web.tls(shows_identity).await.map_err(|error| failed(io::Error::other(error)))?;
    let Some(config) = config else { return Err(CallError::NobodyTrusted { to: target(address) }) };
    let name = to.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}
