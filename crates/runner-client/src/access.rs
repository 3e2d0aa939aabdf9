//! The way to a runner: its URL, and the credentials of both sides.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Identity, Url};

use crate::{BadSetting, CONNECT_WITHIN, RunnerError};

/// The caller's credentials, and the authority that it trusts.
#[derive(Clone, Default)]
pub struct Access {
    /// The runner's token.
    pub token: Option<String>,
    /// The authority of an https runner's certificate, PEM; none for those that the machine trusts.
    pub authority_pem: Option<String>,
    /// The caller's own certificate and its key, PEM, in one text.
    pub identity_pem: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("authority_pem", &self.authority_pem).finish_non_exhaustive()
    }
}

/// Creates the HTTP client for all calls. It has no limit on the time of an answer, because each call has its own.
pub(crate) fn client(access: &Access) -> Result<reqwest::Client, RunnerError> {
    // A redirect would carry the token elsewhere, and a proxy must not come between a caller and a runner on loopback.
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN);
    if let Some(token) = &access.token {
        builder = builder.default_headers([(AUTHORIZATION, bearer(token)?)].into_iter().collect());
    }
    if let Some(pem) = &access.authority_pem {
        let found = Certificate::from_pem_bundle(pem.as_bytes()).ok().filter(|found| !found.is_empty());
        let authority = found.ok_or(BadSetting::Authority)?;
        builder = builder.tls_certs_only(authority);
    }
    if let Some(pem) = &access.identity_pem {
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| BadSetting::Identity)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(RunnerError::Client)
}

fn bearer(token: &str) -> Result<HeaderValue, BadSetting> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .ok()
        .filter(|_| !token.is_empty())
        .ok_or(BadSetting::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Returns the runner's URL without a trailing slash.
pub(crate) fn base(text: &str) -> Result<String, BadSetting> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err(BadSetting::Url(format!(
            "`{text}` is not the URL of a runner; write it like http://127.0.0.1:3000"
        )));
    };
    if url.password().is_some() || !url.username().is_empty() {
        return Err(BadSetting::Url("a runner's URL holds no password; give its token instead".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BadSetting::Url(format!(
            "`{text}` is more than the URL of a runner: leave out what follows the path"
        )));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(text: &str, expected: Result<&str, &str>) {
        assert_eq!(base(text).map_err(|e| e.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn urls() {
        check_url("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000"));
        check_url("https://runner.internal/kiln/", Ok("https://runner.internal/kiln"));
        let not = |text: &str| format!("`{text}` is not the URL of a runner; write it like http://127.0.0.1:3000");
        for text in ["", "localhost:3000", "127.0.0.1:3000", "ftp://x"] {
            check_url(text, Err(&not(text)));
        }
        check_url("http://a:b@x", Err("a runner's URL holds no password; give its token instead"));
        let more = "`http://x/?a` is more than the URL of a runner: leave out what follows the path";
        check_url("http://x/?a", Err(more));
    }

    #[test]
    fn tokens_are_one_line() {
        for (token, taken) in [("abc", true), ("", false), ("a\nb", false)] {
            let header = bearer(token);
            assert_eq!(header.is_ok(), taken, "{token:?}");
            assert!(header.is_err() || header.is_ok_and(|header| header.is_sensitive()));
        }
        let access = Access { token: Some("secret".to_owned()), ..Access::default() };
        assert!(!format!("{access:?}").contains("secret"));
    }
}
