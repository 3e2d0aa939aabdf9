//! Failures of drivers, in classes that a pool must tell apart.

/// The kind of a failure. It decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// There is no room now (no capacity, no memory, no disk). Another place or time may have some.
    Capacity,
    /// A limit of the account or the host has been reached.
    Quota,
    /// Too many calls were made.
    Throttled,
    /// The call is not allowed.
    Auth,
    /// The request can never succeed as it is (unknown image, bad setting).
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The call may succeed when it is repeated.
    Transient,
    /// The request was sent and got no answer, so it may have been carried out.
    Ambiguous,
}

/// A failed call of a driver.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DriverError {
    /// The class.
    pub class: ErrorClass,
    /// What failed, where, and what to do next.
    pub message: String,
    /// The cause from a lower layer.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DriverError {
    /// Creates the error for a site that nothing here can open.
    #[must_use]
    pub fn unknown_site(site: &str) -> Self {
        let message = format!("site {site} cannot be used here: another host or another setting of this runner has it");
        Self { class: ErrorClass::NotFound, message, source: None }
    }
}
