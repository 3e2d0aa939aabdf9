//! The agent's TLS identity: from its files at first, and from a claim later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_wire::agent::kiln::ClaimRequest;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::ServerSessionMemoryCache;

use crate::machine::ClaimError;
use crate::os::files::replace_private;
use crate::settings::Settings;

/// Sessions that a client may resume. It is one runner that calls, and a client keeps but the last few; each one that is kept here
/// lies between what else was in memory then, which cannot be given back for it.
const SESSIONS: usize = 16;

/// Why the certificates of the settings are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}; see SERVER_CERT_FILE, SERVER_KEY_FILE and CLIENT_CERT_FILE (the CA)")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// They cannot be used.
    #[error("the certificates cannot be used")]
    Tls(#[from] kiln_tls::TlsError),
}

/// The TLS identity that new connections get. Each change closes the connections that were made under the one before.
#[derive(Debug)]
pub(crate) struct Tls {
    config: watch::Sender<Option<Arc<ServerConfig>>>,
    files: [PathBuf; 3],
}

/// A new TLS identity, not in use yet.
pub(crate) struct NewTls {
    config: Arc<ServerConfig>,
    pem: [String; 3],
}

impl Tls {
    /// Reads the certificates that the settings name.
    pub(crate) fn new(settings: &Settings) -> Result<Self, CertificateError> {
        let files = [&settings.ca_file, &settings.cert_file, &settings.key_file].map(Clone::clone);
        if settings.insecure {
            return Ok(Self { config: watch::Sender::new(None), files });
        }
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| CertificateError::Read { path: path.into(), source });
        let config = config(&read(&files[0])?, &read(&files[1])?, &read(&files[2])?)?;
        Ok(Self { config: watch::Sender::new(Some(Arc::new(config))), files })
    }

    /// Makes the identity that a claim brings, if it brings one.
    pub(crate) fn prepare(&self, claim: &ClaimRequest) -> Result<Option<NewTls>, ClaimError> {
        let pem = match (claim.cert_pem.is_empty(), claim.key_pem.is_empty()) {
            (true, true) if claim.ca_pem.is_empty() => return Ok(None),
            (false, false) => [claim.cert_pem.clone(), claim.key_pem.clone()],
            (true, true) => [self.present(1)?, self.present(2)?],
            _ => return Err(ClaimError::HalfTls),
        };
        let ca = if claim.ca_pem.is_empty() { self.present(0)? } else { claim.ca_pem.clone() };
        let [cert, key] = pem;
        let config = config(ca.as_bytes(), cert.as_bytes(), key.as_bytes())?;
        Ok(Some(NewTls { config: Arc::new(config), pem: [ca, cert, key] }))
    }

    fn present(&self, file: usize) -> Result<String, ClaimError> {
        let path = &self.files[file];
        std::fs::read_to_string(path).map_err(|source| ClaimError::Read { path: path.clone(), source })
    }

    /// The identity in use, now and later; none without TLS.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<ServerConfig>>> {
        self.config.subscribe()
    }

    /// Takes it into use.
    pub(crate) fn swap(&self, new: NewTls) {
        // Kept in the files too, so that an agent that is started again is still the same.
        for (path, pem) in self.files.iter().zip(&new.pem) {
            if let Err(error) = replace_private(path, pem) {
                tracing::warn!(path = %path.display(), %error, "the new identity is lost when the agent restarts");
            }
        }
        self.config.send_replace(Some(new.config));
    }
}

fn config(ca_pem: &[u8], cert_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, kiln_tls::TlsError> {
    let mut config = kiln_tls::server_config(ca_pem, cert_pem, key_pem)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}
