//! Certificates, mTLS configurations and peer identity: the one place that names a crypto provider.
//!
//! Names and usages are separate. A server certificate carries the instance's id as DNS name and `serverAuth` alone, so
//! a stolen one opens nothing; the runner's carries `clientAuth` alone. Both ends speak TLS 1.3 only. Our agent must
//! also work with the certificates of the stack that it replaces, whose leaf has the issuer's own subject name, no
//! extended usage and no authority key id. The tests check that.

mod config;
mod digest;
mod error;
#[cfg(feature = "issue")]
mod issue;
#[cfg(feature = "services")]
mod services;
#[cfg(feature = "issue")]
mod store;

pub use config::{client_config, install_provider, open_server_config, server_config};
pub use digest::{HmacSha256, Sha256};
pub use error::TlsError;
#[cfg(feature = "issue")]
pub use issue::{Authority, Identity};
#[cfg(feature = "services")]
pub use services::{Authorities, service_config};
#[cfg(feature = "issue")]
pub use store::load_or_create;
