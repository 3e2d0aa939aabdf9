//! Sets the proxy that a setup wants for the container engine of the machine.

use http::Uri;
use kiln_wire::agent::{EgressPolicy, SetupRequest};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::os::engine_proxy::{self, Proxy};
use crate::settings::Settings;

/// Variables of a setup that name a proxy, and the hosts that are reached without it.
const PROXY: &str = "HARNESS_HTTPS_PROXY";
const NO_PROXY: &str = "HARNESS_NO_PROXY";

/// Why the engine cannot have a proxy.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The address is not one.
    #[error("{of} is no address such as http://HOST:PORT")]
    Address {
        /// The field or variable that holds it.
        of: &'static str,
    },
    /// The engine cannot be told.
    #[error("the container engine is not told of the proxy: {0}")]
    Engine(#[from] std::io::Error),
}

/// Tells the engine's daemon the proxy of a setup, where the machine is the agent's own.
///
/// # Errors
/// When the setup wants a proxy and the engine does not get it: containers would go out another way than they should.
pub(crate) async fn set(request: &SetupRequest, settings: &Settings) -> Result<(), EgressError> {
    let Some(proxy) = proxy(request)? else { return Ok(()) };
    if !settings.change_kernel {
        tracing::warn!("the proxy of the setup is not for the container engine of a machine that others use too");
        return Ok(());
    }
    Ok(engine_proxy::set(&settings.root_dir, &proxy).await?)
}

/// Returns the proxy of a setup's policy, or else of its environment.
fn proxy(request: &SetupRequest) -> Result<Option<Proxy>, EgressError> {
    if let Some(policy) = request.egress_policy.as_ref().filter(|policy| !policy.proxy_url.is_empty()) {
        let proxy = proxy_of(policy);
        return proxy.map(Some).ok_or(EgressError::Address { of: "egress_policy.proxy_url" });
    }
    let Some(proxy_url) = request.envs.get(PROXY).filter(|url| !url.is_empty()).cloned() else { return Ok(None) };
    let no_proxy = request.envs.get(NO_PROXY).cloned().unwrap_or_default();
    let proxy = proxy_of(&EgressPolicy { proxy_url, no_proxy, ..EgressPolicy::default() });
    proxy.map(Some).ok_or(EgressError::Address { of: PROXY })
}

/// Returns the proxy of a policy, with the credentials in the address.
fn proxy_of(policy: &EgressPolicy) -> Option<Proxy> {
    let EgressPolicy { username, password, proxy_url, no_proxy } = policy;
    let address: Uri = proxy_url.parse().ok()?;
    let (scheme, authority) = (address.scheme_str()?, address.authority()?.as_str());
    let address = match (username.is_empty(), authority.contains('@')) {
        (false, false) => {
            let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            format!("{scheme}://{}:{}@{authority}", quoted(username), quoted(password))
        }
        (true, _) | (_, true) => format!("{scheme}://{authority}"),
    };
    Some(Proxy { address, not_for: no_proxy.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, username: &str, expect: Option<&str>) {
        let policy = EgressPolicy {
            username: username.into(),
            password: "p@ss".into(),
            proxy_url: url.into(),
            no_proxy: "a,b".into(),
        };
        let proxy = proxy_of(&policy);
        assert_eq!(proxy.as_ref().map(|proxy| proxy.address.as_str()), expect);
        assert!(proxy.is_none_or(|proxy| proxy.not_for == "a,b"));
    }

    #[test]
    fn credentials_stand_in_the_address() {
        check("http://proxy:3128", "ann", Some("http://ann:p%40ss@proxy:3128"));
        check("http://proxy:3128/", "", Some("http://proxy:3128"));
        check("https://bob:x@proxy:3128", "ann", Some("https://bob:x@proxy:3128"));
        check("proxy:3128", "ann", None);
        check("not an address", "", None);
    }

    #[test]
    fn the_policy_counts_before_the_environment() {
        let mut request = SetupRequest::default();
        let address = |request: &SetupRequest| {
            proxy(request).map(|proxy| proxy.map(|proxy| (proxy.address, proxy.not_for))).map_err(|e| e.to_string())
        };
        assert_eq!(address(&request), Ok(None));
        request.envs.insert(PROXY.into(), "http://of-the-envs:1".into());
        request.envs.insert(NO_PROXY.into(), "c,d".into());
        assert_eq!(address(&request), Ok(Some(("http://of-the-envs:1".into(), "c,d".into()))));
        let policy = |url: &str| EgressPolicy { proxy_url: url.into(), no_proxy: "a,b".into(), ..Default::default() };
        request.egress_policy = Some(policy(""));
        assert_eq!(address(&request), Ok(Some(("http://of-the-envs:1".into(), "c,d".into()))));
        request.egress_policy = Some(policy("http://of-the-policy:2"));
        assert_eq!(address(&request), Ok(Some(("http://of-the-policy:2".into(), "a,b".into()))));
        request.egress_policy = None;
        request.envs.insert(PROXY.into(), "nowhere".into());
        assert_eq!(address(&request), Err("HARNESS_HTTPS_PROXY is no address such as http://HOST:PORT".into()));
    }
}
