//! Sites of instances.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A site, which is the scope of one listing: `qemu:ID` for the local VMs in one owner's folder,
/// `amazon:ACCOUNT:REGION` for a region of an account. Leases, listings and limits of launches are per site, and each
/// row names the site of its instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteId(String);

impl SiteId {
    /// Returns the site with that name.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the driver of the site's instances: the part before the first colon.
    #[must_use]
    pub fn driver(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(driver, _)| driver)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SiteId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::SiteId;

    #[test]
    fn a_site_names_its_driver() {
        assert_eq!(SiteId::new("amazon:123456789012:eu-central-1").driver(), "amazon");
        assert_eq!(SiteId::new("fake").driver(), "fake");
    }
}
