//! What a driver is: the one way Kiln makes, sees and ends instances, whatever makes them.
//!
//! A driver is told the instance's id before it starts anything; the id is the idempotency token and the tag, so
//! that a launch whose answer was lost is found again by [`Driver::list`].

pub mod conformance;
mod error;
pub mod fake;
pub mod user_data;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;

pub use error::{DriverError, ErrorClass};

/// What to launch.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The instance's id: unique for ever, lower-case letters, digits and hyphens; also its DNS name in certificates.
    pub id: String,
    /// Name of the image (QEMU: as in `kiln image list`; EC2: an AMI).
    pub image: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Smallest size of the root disk in GiB.
    pub disk_gib: u32,
    /// What the instance is marked with, within the launch call itself; [`Driver::list`] gives it back.
    pub labels: Labels,
}

/// Marks of an instance, by name. A cloud knows them as tags.
pub type Labels = BTreeMap<String, String>;

/// What a driver can do beyond making and ending instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// [`Driver::hibernate`] and [`Driver::resume`] work.
    pub hibernate: bool,
    /// Instances outlive the process that made them, and another process with the same settings lists them.
    pub outlives_owner: bool,
    /// Its listings may hold what other installations made, as where several share an account. Without that, all that is
    /// listed is the caller's, whatever its labels say.
    pub lists_others: bool,
}

/// An instance whose agent can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// The id of the request.
    pub id: String,
    /// Where its agent listens.
    pub agent: SocketAddr,
    /// The DNS name in the certificate that the agent presents now.
    pub server_name: String,
    /// Whether it is a copy that must be given its own identity by the agent's claim route before anything else.
    pub needs_claim: bool,
    /// How long each phase of the start took, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// An instance as the driver sees it, whether or not anybody here knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Whether it runs (and so costs).
    pub running: bool,
    /// What it was marked with when it was launched.
    pub labels: Labels,
    /// What its launch answered, or would have; none while it starts, and of one that ended.
    pub launched: Option<Launched>,
}

/// Makes, lists and ends instances. Every call is safe to repeat.
pub trait Driver: Send + Sync {
    /// Starts an instance and returns when its agent can be reached.
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Launched, DriverError>>;
    /// Every instance of this owner that exists.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>>;
    /// Ends an instance and removes all that belongs to it; an unknown id is a success.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>>;
    /// Returns when the instance ends by itself, with the evidence: exit status, last lines of its console.
    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String>;
    /// The last part of the instance's console, for people.
    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String>;
    /// What this driver can do beyond that.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
    /// Puts an idle instance to sleep with its memory, so that it costs little until it is resumed.
    fn hibernate<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move { Err(cannot_hibernate(id)) })
    }
    /// Wakes a hibernated instance and returns when its agent can be reached, perhaps at another address.
    fn resume<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Launched, DriverError>> {
        Box::pin(async move { Err(cannot_hibernate(id)) })
    }
}

fn cannot_hibernate(id: &str) -> DriverError {
    let message = format!("instance {id} cannot be hibernated: this driver does not do that");
    DriverError { class: ErrorClass::Invalid, message, source: None }
}
