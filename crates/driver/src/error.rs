//! How a driver fails: classes that a pool must tell apart.

/// What kind of failure it is, which decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// There is no room now (no capacity, no memory, no disk); another place or time may have it.
    Capacity,
    /// A limit of the account or the host is reached.
    Quota,
    /// Asked too often.
    Throttled,
    /// Not allowed.
    Auth,
    /// The request can never succeed as it is (unknown image, bad setting).
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// May succeed when tried again.
    Transient,
    /// Sent, and no answer came: it may have happened.
    Ambiguous,
}

/// A failed call of a driver.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DriverError {
    /// What kind.
    pub class: ErrorClass,
    /// What failed, where, and what to do next.
    pub message: String,
    /// Why, where a lower layer said so.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DriverError {
    /// There is nothing here that could open this site.
    #[must_use]
    pub fn unknown_site(site: &str) -> Self {
        let message = format!("site {site} cannot be used here: another host or another setting of this runner has it");
        Self { class: ErrorClass::NotFound, message, source: None }
    }
}
