//! Our end of connections to services of others, as a log service or a store of objects.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::TlsError;
use crate::config::{certificates, private_key, provider};

/// The authorities whose word is taken for a service.
/// By default there are none.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Default for Authorities {
    fn default() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }
}

impl Authorities {
    /// Reads those that the machine trusts: of a file and a folder, as `SSL_CERT_FILE` and `SSL_CERT_DIR` name them, or
    /// else of where its distribution keeps them. What cannot be read is left out; a machine may have none.
    #[must_use]
    pub fn of_the_machine(file: Option<&Path>, dir: Option<&Path>) -> Self {
        let found = match (file, dir) {
            (None, None) => rustls_native_certs::load_native_certs(),
            (file, dir) => rustls_native_certs::load_certs_from_paths(file, dir),
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        Self(Arc::new(store))
    }

    /// Returns whether there are none, so that no service can be trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes our end of connections to services: TLS 1.2 or 1.3 and HTTP/1.1. A certificate (PEM, with its key) is shown to
/// those that ask for one.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub fn service_config(trusted: &Authorities, identity: Option<(&[u8], &[u8])>) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(Arc::clone(&trusted.0));
    let mut config = match identity {
        Some((cert, key)) => config.with_client_auth_cert(certificates(cert, "certificate")?, private_key(key)?)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A connection is made for hours, and few are made: sessions would only take memory.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
