//! The outgoing proxy that a setup wants for the container engine of the machine.

use http::Uri;
use kiln_wire::agent::{EgressPolicy, SetupRequest};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::os::engine_proxy::{self, Proxy};
use crate::settings::Settings;

/// A proxy that the engine cannot have.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No address.
    #[error("egress_policy.proxy_url is no address such as http://HOST:PORT")]
    Address,
    /// The engine does not take it.
    #[error("the container engine is not told of the proxy: {0}")]
    Engine(#[from] std::io::Error),
}

/// Tells the engine's daemon, where the machine is the agent's own.
///
/// # Errors
/// When it wants one and does not get it: its containers would go another way out than they should.
pub(crate) async fn set(request: &SetupRequest, settings: &Settings) -> Result<(), EgressError> {
    let Some(proxy) = request.egress_policy.as_ref().filter(|policy| !policy.proxy_url.is_empty()) else {
        return Ok(());
    };
    let proxy = proxy_of(proxy).ok_or(EgressError::Address)?;
    if !settings.change_kernel {
        tracing::warn!("the proxy of the setup is not for the container engine of a machine that others use too");
        return Ok(());
    }
    Ok(engine_proxy::set(&settings.root_dir, &proxy).await?)
}

/// The proxy with its credentials in its address.
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
}
