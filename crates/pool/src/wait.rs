//! Reasons why a stage waits.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::site::SiteId;

/// The reason why a stage waits for an instance. It holds neither a time that passes nor a place in the queue, so it
/// changes only when the reason does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum WaitReason {
    /// An instance for the stage is starting or about to be created.
    Starting {
        /// The flavor that the stage waits for.
        flavor: String,
    },
    /// The pool has reached its limit.
    PoolLimit {
        /// The flavor that the stage waits for.
        flavor: String,
        /// The pool.
        pool: String,
        /// The limit.
        limit: u32,
    },
    /// The flavor has reached its limit.
    FlavorLimit {
        /// The flavor that the stage waits for.
        flavor: String,
        /// The limit.
        limit: u32,
    },
    /// The latest launches failed, and the next attempt comes later.
    LaunchesFail {
        /// The flavor that the stage waits for.
        flavor: String,
        /// The number of failures in a row.
        failures: u32,
        /// The reason of the last failure, for people.
        evidence: String,
    },
    /// An operator drains the pool.
    Drained {
        /// The flavor that the stage waits for.
        flavor: String,
    },
    /// This runner cannot use the pool's site.
    SiteClosed {
        /// The flavor that the stage waits for.
        flavor: String,
        /// The site.
        site: SiteId,
        /// The reason, for people.
        evidence: String,
    },
    /// The flavor is no longer in the pool file.
    NotInPoolFile {
        /// The flavor that the stage waits for.
        flavor: String,
    },
}

impl WaitReason {
    /// Returns the word for the reason in the API.
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
            Self::Starting { flavor } => write!(f, "{flavor}: an instance starts"),
            Self::PoolLimit { flavor, pool, limit } => {
                write!(f, "{flavor}: the limit of {limit} of pool {pool} is reached")
            }
            Self::FlavorLimit { flavor, limit } => write!(f, "{flavor}: its limit of {limit} is reached"),
            Self::LaunchesFail { flavor, failures: 1, evidence } => {
                write!(f, "{flavor}: the last launch failed: {evidence}")
            }
            Self::LaunchesFail { flavor, failures, evidence } => {
                write!(f, "{flavor}: the last {failures} launches failed: {evidence}")
            }
            Self::Drained { flavor } => write!(f, "{flavor}: its pool is drained"),
            Self::SiteClosed { flavor, site, evidence } => {
                write!(f, "{flavor}: its site {site} is not open here: {evidence}")
            }
            Self::NotInPoolFile { flavor } => write!(f, "{flavor} is no longer in the pool file"),
        }
    }
}
