//! Checks that a request was written for this runner by a program of this machine.
//!
//! On loopback without a token, the API must be closed to anybody who can make this machine's own programs call it: a
//! web page that sends a form, or whose name was rebound to this machine. Browsers reveal this in three headers: `Host`
//! is the name that the page used, `Origin` the page's own address, `Sec-Fetch-Site` the relation of the two. Programs
//! such as the incumbent's delegates send `Host` alone.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};

use super::Settings;
use super::reply::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The values of `Sec-Fetch-Site` for a request that comes from no page, or from a page of this very runner.
const OWN_SITES: [&str; 2] = ["none", "same-origin"];
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// A host as a header names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// In lower case, without brackets and without the trailing dot.
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `NAME`, `NAME:PORT`, `[V6]` or `[V6]:PORT`.
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, after) = rest.split_once(']')?;
                (name, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(digits) if !digits.bytes().all(|byte| byte.is_ascii_digit()) => return None,
            Some(digits) => Some(digits.parse().ok()?),
            None => None,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        (!name.is_empty()).then_some(Self { name, port })
    }

    /// Reads the `SCHEME://HOST` of an `Origin`. The default port of the scheme is filled in.
    fn of_origin(text: &str) -> Option<(Self, u16)> {
        let (scheme, host) = text.split_once("://")?;
        let default = if scheme.eq_ignore_ascii_case("https") { HTTPS_PORT } else { HTTP_PORT };
        let host = Self::parse(host)?;
        Some((Self { port: host.port.or(Some(default)), ..host }, default))
    }

    /// Returns whether only this machine can have the name.
    fn is_loopback(&self) -> bool {
        let address = self.name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        address || self.name == "localhost" || self.name.ends_with(".localhost")
    }
}

/// Refuses a request whose headers do not name this runner, which listens on `port`, or that a page of another site
/// sent.
///
/// # Errors
/// 403, with the necessary change.
pub(super) fn check(settings: &Settings, port: u16, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let host = host(headers, uri)?;
    if !is_ours(settings, port, &host) {
        let shown = host.port.map_or_else(|| host.name.clone(), |port| format!("{}:{port}", host.name));
        return Err(refused(format!(
            "this runner has no token, so it answers only to names of this machine with its own port, not to `{shown}`; \
             call it as localhost:{port}, name that host in its settings, or give it a token"
        )));
    }
    if let Some(origin) = only(headers, &header::ORIGIN)? {
        let own = Host::of_origin(origin)
            .is_some_and(|(from, default)| from == Host { port: host.port.or(Some(default)), ..host.clone() });
        if !own {
            return Err(refused(format!(
                "this runner has no token, so it does not answer to pages of other sites (`{origin}`)"
            )));
        }
    }
    match only(headers, &SEC_FETCH_SITE)? {
        Some(site) if !OWN_SITES.contains(&site) => Err(refused(format!(
            "this runner has no token, so it does not answer to pages of other sites (`Sec-Fetch-Site: {site}`)"
        ))),
        _ => Ok(()),
    }
}

/// Returns the host of a request: from its line, its header, or both if they agree.
fn host(headers: &HeaderMap, uri: &Uri) -> Result<Host, Refusal> {
    let in_line = uri.authority().map(axum::http::uri::Authority::as_str);
    let in_header = only(headers, &header::HOST)?;
    let Some(named) = in_line.or(in_header) else {
        return Err(refused("this runner has no token, so a request must name it in `Host`"));
    };
    let unreadable = || refused(format!("`{named}` is not a host"));
    let host = Host::parse(named).ok_or_else(unreadable)?;
    match in_header.map(Host::parse) {
        Some(other) if other.as_ref() != Some(&host) => {
            Err(refused("the request names one host in its first line and another one in `Host`"))
        }
        _ => Ok(host),
    }
}

/// Returns the value of a header that may occur once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| refused(format!("`{name}` is not text")))?;
            Ok(Some(text.trim()))
        }
        (Some(_), Some(_)) => Err(refused(format!("`{name}` is there twice"))),
    }
}

/// Returns whether a host is this runner. A name of this machine needs the runner's own port. A name from the settings
/// may stand for a proxy in front, so its port only matters if the settings name it.
fn is_ours(settings: &Settings, port: u16, host: &Host) -> bool {
    let default = if settings.tls.is_some() { HTTPS_PORT } else { HTTP_PORT };
    if host.is_loopback() && host.port.unwrap_or(default) == port {
        return true;
    }
    let allowed = settings.allowed_hosts.iter().filter_map(|allowed| Host::parse(allowed));
    allowed
        .into_iter()
        .any(|allowed| allowed.name == host.name && (allowed.port.is_none() || allowed.port == host.port))
}

fn refused(message: impl ToString) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// Checks whether a runner on port 3000 accepts a request with these headers.
    #[track_caller]
    fn check_headers(line: &str, given: &[(&str, &str)], taken: bool) {
        let allowed_hosts = vec!["Runner.Internal".to_owned(), "exact.internal:8080".to_owned()];
        let settings = Settings { allowed_hosts, ..Settings::default() };
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let told = check(&settings, 3000, &headers, &line.parse().expect("a URI"));
        assert_eq!(told.is_ok(), taken, "{line} {given:?}: {told:?}");
        assert!(told.is_ok() || told.is_err_and(|refusal| refusal.status == StatusCode::FORBIDDEN));
    }

    #[test]
    fn the_host_is_one_of_this_machine_with_our_port() {
        for host in [
            "localhost:3000",
            "LOCALHOST:3000",
            "localhost.:3000",
            "a.localhost:3000",
            "127.0.0.1:3000",
            "127.8.8.8:3000",
            "[::1]:3000",
            "runner.internal",
            "runner.internal:443",
            "exact.internal:8080",
        ] {
            check_headers("/setup", &[("host", host)], true);
        }
        for host in [
            "",
            ":3000",
            "localhost",
            "localhost:80",
            "localhost:3001",
            "localhost:3000:3000",
            "localhost:+3000",
            "localhost:3000@evil.example",
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.0.2.2:3000",
            "0.0.0.0:3000",
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example:3000",
            "127.0.0.1.evil.example:3000",
            "xlocalhost:3000",
            "[::1]",
            "[::1]3000",
            "[2001:db8::1]:3000",
            "exact.internal",
            "exact.internal:81",
            "\u{e4}",
        ] {
            check_headers("/setup", &[("host", host)], false);
        }
        check_headers("/setup", &[], false);
        check_headers("/setup", &[("host", "localhost:3000"), ("host", "localhost:3000")], false);
    }

    #[test]
    fn a_first_line_with_a_host_agrees_with_the_header() {
        check_headers("http://localhost:3000/setup", &[], true);
        check_headers("http://localhost:3000/setup", &[("host", "localhost:3000")], true);
        check_headers("http://localhost:3000/setup", &[("host", "evil.example")], false);
        check_headers("http://evil.example/setup", &[("host", "localhost:3000")], false);
    }

    #[test]
    fn an_origin_is_the_very_host_and_port() {
        let (direct, proxied) = ("localhost:3000", "runner.internal");
        for (host, origin) in [
            (direct, "http://localhost:3000"),
            (direct, "HTTP://LOCALHOST:3000"),
            (proxied, "https://runner.internal"),
            (proxied, "http://runner.internal:80"),
            ("runner.internal:443", "https://runner.internal"),
        ] {
            check_headers("/setup", &[("host", host), ("origin", origin)], true);
        }
        for (host, origin) in [
            (direct, "http://localhost"),
            (direct, "http://localhost:8080"),
            (direct, "http://127.0.0.1:3000"),
            (direct, "http://evil.example:3000"),
            (direct, "null"),
            (direct, ""),
            (direct, "localhost:3000"),
            (proxied, "https://runner.internal:8443"),
            (proxied, "http://localhost:3000"),
        ] {
            check_headers("/setup", &[("host", host), ("origin", origin)], false);
        }
        let twice = [("host", direct), ("origin", "http://localhost:3000"), ("origin", "http://localhost:3000")];
        check_headers("/setup", &twice, false);
    }

    #[test]
    fn a_browser_says_that_no_other_site_asks() {
        for (site, taken) in [
            ("none", true),
            ("same-origin", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
            ("none, cross-site", false),
        ] {
            check_headers("/setup", &[("host", "localhost:3000"), ("sec-fetch-site", site)], taken);
        }
        check_headers(
            "/setup",
            &[("host", "localhost:3000"), ("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
            false,
        );
    }
}
