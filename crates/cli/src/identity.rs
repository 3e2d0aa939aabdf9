//! This user's identity for instances: the CA that they trust, and a client certificate.

use std::sync::Arc;

use kiln_agent_client::Credentials;
use kiln_tls::Authority;

use crate::home::Layout;

/// The name in our client certificates.
const CLIENT_NAME: &str = "kiln";

/// The credentials for calling instances and for making instances that answer.
#[derive(Clone)]
pub struct Identity {
    /// The CA that the instances trust.
    pub authority: Arc<Authority>,
    /// Our own certificate.
    pub credentials: Credentials,
}

impl Identity {
    /// Returns this user's CA, which is created on demand, and a fresh client certificate.
    pub fn of(layout: &Layout) -> anyhow::Result<Self> {
        let authority = kiln_tls::load_or_create(&layout.ca())?;
        let client = authority.issue_client(CLIENT_NAME)?;
        let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
        Ok(Self { authority: Arc::new(authority), credentials })
    }
}
