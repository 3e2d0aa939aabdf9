//! Errors of making or reading certificates.

use std::path::PathBuf;

/// A certificate, key or configuration that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text holds no usable certificate or key.
    #[error("the {what} is not usable PEM")]
    Pem {
        /// The kind of text: `CA certificate`, `certificate`, `private key`.
        what: &'static str,
        /// The parser's error, if there is one.
        #[source]
        source: Option<rustls::pki_types::pem::Error>,
    },
    /// rustls refused the combination.
    #[error("the certificate and key do not make a usable TLS configuration")]
    Config(#[from] rustls::Error),
    /// The client verifier could not be built from the CA.
    #[error("no client can be verified with this CA certificate")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A certificate could not be made.
    #[cfg(feature = "issue")]
    #[error("could not make the certificate for {name}")]
    Issue {
        /// The name in the certificate.
        name: String,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// The CA's files could not be read or written.
    #[error("could not {action} {}", path.display())]
    Store {
        /// The action: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
