//! Why a stage waits.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::site::SiteId;

/// Why a stage waits for an instance. It holds neither a time that passes, nor a place in the queue, so that it changes only
/// when the reason does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum WaitReason {
    /// An instance for it is on its way, or is about to be made.
    Starting {
        /// The flavor that it waits for.
        flavor: String,
    },
    /// The pool has as many instances as it may have.
    PoolLimit {
        /// The flavor that it waits for.
        flavor: String,
        /// The pool.
        pool: String,
        /// How many it may have.
        limit: u32,
    },
    /// The flavor has as many instances as it may have.
    FlavorLimit {
        /// The flavor that it waits for.
        flavor: String,
        /// How many it may have.
        limit: u32,
    },
    /// The latest launches failed, and the next try comes later.
    LaunchesFail {
        /// The flavor that it waits for.
        flavor: String,
        /// How many failed in a row.
        failures: u32,
        /// Why the last one did, for people.
        evidence: String,
    },
    /// An operator drains the pool.
    Drained {
        /// The flavor that it waits for.
        flavor: String,
    },
    /// The pool's site cannot be used by this runner.
    SiteClosed {
        /// The flavor that it waits for.
        flavor: String,
        /// The site.
        site: SiteId,
        /// Why, for people.
        evidence: String,
    },
    /// The pool file does not have the flavor any more.
    NotInPoolFile {
        /// The flavor that it was promised.
        flavor: String,
    },
}

impl WaitReason {
    /// The word for it in the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::PoolLimit { .. } => "pool_limit",
            Self::FlavorLimit { .. } => "flavor_limit",
            Self::LaunchesFail { .. } => "launches_fail",
            Self::Drained { .. } => "drained",
            Self::SiteClosed { .. } => "site_closed",
            Self::NotInPoolFile { .. } => "not_in_pool_file",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { flavor } => write!(f, "waits for {flavor}: an instance starts"),
            Self::PoolLimit { flavor, pool, limit } => {
                write!(f, "waits for {flavor}: the limit of {limit} of pool {pool} is reached")
            }
            Self::FlavorLimit { flavor, limit } => write!(f, "waits for {flavor}: its limit of {limit} is reached"),
            Self::LaunchesFail { flavor, failures: 1, evidence } => {
                write!(f, "waits for {flavor}: the last launch failed: {evidence}")
            }
            Self::LaunchesFail { flavor, failures, evidence } => {
                write!(f, "waits for {flavor}: the last {failures} launches failed: {evidence}")
            }
            Self::Drained { flavor } => write!(f, "waits for {flavor}: its pool is drained"),
            Self::SiteClosed { flavor, site, evidence } => {
                write!(f, "waits for {flavor}: its site {site} is not open here: {evidence}")
            }
            Self::NotInPoolFile { flavor } => write!(f, "the pool file does not have {flavor} any more"),
        }
    }
}
