//! Which proxy leads to a service.

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The proxies of a stage, by the variables that all tools know.
pub(super) struct Proxies(Matcher);

impl Proxies {
    /// `get` gives the value of a variable.
    pub(super) fn of<'a>(get: impl Fn(&str) -> Option<&'a String>) -> Self {
        let value = |name: &str| get(name).or_else(|| get(&name.to_ascii_uppercase())).cloned().unwrap_or_default();
        let [all, http, https, no] = ["all_proxy", "http_proxy", "https_proxy", "no_proxy"].map(value);
        let builder = Matcher::builder().all(all).http(http).https(https).no(no);
        Self(builder.build())
    }

    /// The proxy for an address; none when it is reached directly, as this machine itself always is.
    pub(super) fn to(&self, address: &Uri) -> Option<Intercept> {
        let host = address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if here { None } else { self.0.intercept(address) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn check(envs: &[(&str, &str)], address: &str, expect: Option<&str>) {
        let envs: BTreeMap<String, String> = envs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let proxies = Proxies::of(|name| envs.get(name));
        let to = proxies.to(&address.parse().expect("an address")).map(|proxy| proxy.uri().to_string());
        assert_eq!(to.as_deref(), expect, "{address}");
    }

    #[test]
    fn a_proxy_is_taken_by_scheme_and_host() {
        let envs = [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("http_proxy", "http://other:80"),
            ("NO_PROXY", "internal.example,10.0.0.0/8"),
        ];
        check(&envs, "https://logs.example/x", Some("http://proxy:3128/"));
        check(&envs, "http://logs.example/x", Some("http://other:80/"));
        check(&envs, "https://a.internal.example/x", None);
        check(&envs, "https://10.1.2.3/x", None);
        check(&[("ALL_PROXY", "http://proxy:1")], "https://logs.example", Some("http://proxy:1/"));
        check(&[], "https://logs.example", None);
    }

    #[test]
    fn this_machine_is_reached_directly() {
        let envs = [("ALL_PROXY", "http://proxy:1")];
        check(&envs, "http://127.0.0.1:8080/x", None);
        check(&envs, "http://localhost/x", None);
        check(&envs, "https://[::1]/x", None);
    }
}
