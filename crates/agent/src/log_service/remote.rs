//! The log service's calls.
//!
//! | call | request |
//! |---|---|
//! | open, write, close | `POST`, `PUT`, `DELETE` of `URL/stream?accountID=&key=`, the last one with `&snapshot=true` where the service is to store what it was sent |
//! | upload | `POST URL/blob?...`, or `POST URL/blob/link/upload?...` and a `PUT` to the link of the answer |
//!
//! The token, and the stage's client certificate, go to the service alone. A signed link is its own permission, and
//! leads to a store of objects that has no business with either; only where it leads to the service's own scheme, host
//! and port, it is the service that asks.

use std::sync::Arc;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use kiln_wire::agent::LogConfig;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use super::{LogError, Pace};
use crate::web::{self, CallError, Caller, Origin, Web};

const TOKEN: HeaderName = HeaderName::from_static("x-harness-token");

/// What cannot stand in a query as it is. The original sends keys as they are, so what can stand there does.
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer with the signed link is none.
    #[error("the service gave no link to upload to: {0}")]
    NoLink(String),
    /// The request cannot be made.
    #[error("no request can be made of it: {0}")]
    Request(#[from] http::Error),
}

impl RemoteError {
    /// Whether it may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Call(error) => error.may_pass(),
            Self::NoLink(_) => true,
            Self::Request(_) => false,
        }
    }

    /// Whether the stream is not open (any more), as after a restart of the service.
    pub(super) fn is_not_open(&self) -> bool {
        match self {
            Self::Call(error) => error.status() == Some(StatusCode::NOT_FOUND),
            Self::NoLink(_) | Self::Request(_) => false,
        }
    }
}

/// The log service of a stage.
pub(super) struct Remote {
    url: String,
    origin: Origin,
    account: String,
    token: HeaderValue,
    indirect: bool,
    web: Arc<Web>,
    pace: Pace,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    link: String,
}

impl Remote {
    pub(super) fn new(config: &LogConfig, web: Arc<Web>, pace: &Pace) -> Result<Self, LogError> {
        let url = config.url.trim_end_matches('/').to_owned();
        let wrong = || LogError::Address { url: config.url.clone() };
        let address = web::address(&url).filter(|address| address.query().is_none()).ok_or_else(wrong)?;
        let mut token = HeaderValue::from_str(&config.token).map_err(|_| LogError::Token)?;
        token.set_sensitive(true);
        Ok(Self {
            origin: Origin::of(&address).ok_or_else(wrong)?,
            url,
            account: config.account_id.clone(),
            token,
            indirect: config.indirect_upload,
            web,
            pace: pace.clone(),
        })
    }

    /// Speaks of one log.
    pub(super) fn of<'a>(&'a self, key: &'a str) -> Channel<'a> {
        Channel { remote: self, key, caller: Caller::new(Arc::clone(&self.web)) }
    }

    fn address(&self, path: &str, key: &str, more: &str) -> String {
        let quoted = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        format!("{}{path}?accountID={}&key={}{more}", self.url, quoted(&self.account), quoted(key))
    }
}

/// One log at the service, with a connection.
pub(super) struct Channel<'a> {
    remote: &'a Remote,
    key: &'a str,
    caller: Caller,
}

/// What is uploaded: it can be made again for each try, and its length is known.
pub(super) trait Upload {
    fn length(&self) -> u64;
    fn body(&self) -> Body;
}

impl Channel<'_> {
    pub(super) async fn open(&mut self) -> Result<(), RemoteError> {
        let request = self.request(Method::POST, "/stream", "")?.body(Body::empty())?;
        Ok(self.caller.call(request, true, self.remote.pace.open_within).await.map(drop)?)
    }

    /// Sends a JSON list of lines.
    pub(super) async fn write(&mut self, lines: Vec<u8>) -> Result<(), RemoteError> {
        let request = self.request(Method::PUT, "/stream", "")?.header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(lines))?;
        Ok(self.caller.call(request, true, self.remote.pace.write_within).await.map(drop)?)
    }

    pub(super) async fn close(&mut self, snapshot: bool) -> Result<(), RemoteError> {
        let more = if snapshot { "&snapshot=true" } else { "" };
        let request = self.request(Method::DELETE, "/stream", more)?.body(Body::empty())?;
        Ok(self.caller.call(request, true, self.remote.pace.write_within).await.map(drop)?)
    }

    pub(super) async fn upload(&mut self, upload: &impl Upload) -> Result<(), RemoteError> {
        if self.remote.indirect {
            let request = self.request(Method::POST, "/blob", "")?.header(CONTENT_LENGTH, upload.length());
            let request = request.body(upload.body())?;
            return Ok(self.caller.call(request, true, self.remote.pace.upload_within).await.map(drop)?);
        }
        let link = self.link().await?;
        let is_of_service = Origin::of(&link).as_ref() == Some(&self.remote.origin);
        let mut request = Request::builder().method(Method::PUT).uri(link).header(CONTENT_LENGTH, upload.length());
        if is_of_service {
            request = request.header(TOKEN, self.remote.token.clone());
        }
        let request = request.body(upload.body())?;
        match self.caller.call(request, is_of_service, self.remote.pace.upload_within).await {
            Ok(_) => Ok(()),
            // A link is good for a while only, and the next try has a new one.
            Err(error @ CallError::Refused { .. }) => Err(RemoteError::NoLink(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn link(&mut self) -> Result<Uri, RemoteError> {
        let request = self.request(Method::POST, "/blob/link/upload", "")?.body(Body::empty())?;
        let answer = self.caller.call(request, true, self.remote.pace.link_within).await?;
        // What stands there is a permission, and is not shown.
        let Link { link } = serde_json::from_slice(&answer.body)
            .map_err(|_| RemoteError::NoLink("its answer is no JSON".to_owned()))?;
        web::address(&link).ok_or_else(|| RemoteError::NoLink("its answer has no http or https address".to_owned()))
    }

    fn request(&self, method: Method, path: &str, more: &str) -> Result<http::request::Builder, RemoteError> {
        let address = self.remote.address(path, self.key, more);
        let request = Request::builder().method(method).uri(Uri::try_from(address).map_err(http::Error::from)?);
        Ok(request.header(TOKEN, self.remote.token.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_wire::agent::MtlsConfig;

    use super::*;

    fn remote(url: &str, token: &str) -> Result<Remote, LogError> {
        let web = Web::new(&[&BTreeMap::new()], &MtlsConfig::default()).expect("a way");
        let config =
            LogConfig { url: url.into(), token: token.into(), account_id: "a b".into(), ..LogConfig::default() };
        Remote::new(&config, Arc::new(web), &Pace::default())
    }

    #[test]
    fn a_key_stands_in_the_address_as_far_as_it_can() {
        let remote = remote("https://logs.example/gateway/log-service/", "t").expect("a service");
        let plain = remote.address("/stream", "accountId:x/orgId:y/level0:pipeline-1", "&snapshot=true");
        let base = "https://logs.example/gateway/log-service/stream?accountID=a%20b";
        assert_eq!(plain, format!("{base}&key=accountId:x/orgId:y/level0:pipeline-1&snapshot=true"));
        let odd = remote.address("/stream", "a&key=b+c#d%e \u{e9}\n", "");
        assert_eq!(odd, format!("{base}&key=a%26key=b%2Bc%23d%25e%20%C3%A9%0A"));
        assert!(Uri::try_from(odd).is_ok());
    }

    #[test]
    fn what_is_no_address_or_no_token_is_refused() {
        for url in ["logs.example", "ftp://logs.example", "https://", "https://logs.example/?a=b", "http://a b"] {
            assert!(matches!(remote(url, "t"), Err(LogError::Address { .. })), "{url}");
        }
        assert!(matches!(remote("https://logs.example", "a\nb"), Err(LogError::Token)));
        let shown = format!("{:?}", remote("https://logs.example", "tokentext").expect("a service"));
        assert!(!shown.contains("tokentext"), "{shown}");
    }
}
