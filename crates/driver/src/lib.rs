//! What a driver is: the one way Kiln makes, sees and ends instances, whatever makes them.
//!
//! A driver is opened for one **site**: what one listing covers, such as the local VMs of one owner or a region of a cloud
//! account. It is told a token before it starts anything. The token is the idempotency token of the launch and a mark on
//! what it makes, so that a launch whose answer was lost is found again by [`Driver::list`].

#[cfg(feature = "test-support")]
pub mod conformance;
mod error;
#[cfg(feature = "test-support")]
pub mod fake;
pub mod user_data;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use kiln_pool::instance::id_in_batch;
use kiln_pool::{End, Life};
use kiln_wire::reach::Reach;

pub use error::{DriverError, ErrorClass};

/// What to launch: one batch of equal instances in one place.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The batch's token: unique for ever, lower-case letters, digits and hyphens. The instances' ids follow from it, see
    /// [`LaunchRequest::ids`]. A repeated request has the same token and the same content.
    pub token: String,
    /// How many instances, at most [`Abilities::batch_max`].
    pub count: u32,
    /// The place within the site, as the pool file names it; empty where the site has no places.
    pub place: String,
    /// Name of the image (QEMU: as in `kiln image list`; EC2: an AMI).
    pub image: String,
    /// Virtual processors; 0 where the machine type in `spec` says it.
    pub cpus: u32,
    /// Memory in MiB; 0 where the machine type in `spec` says it.
    pub memory_mib: u32,
    /// Smallest size of the root disk in GiB.
    pub disk_gib: u32,
    /// What only this driver understands, as its section of the pool file gave it.
    pub spec: serde_json::Value,
    /// What the instances are marked with, within the launch call itself; [`Driver::list`] gives it back.
    pub labels: Labels,
}

impl LaunchRequest {
    /// The ids of the instances, in order. An id is also the instance's DNS name in certificates.
    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map(|index| id_in_batch(&self.token, index).to_string())
    }
}

/// Marks of an instance, by name. A cloud knows them as tags.
pub type Labels = BTreeMap<String, String>;

/// What a driver can do beyond making and ending instances, and what suits its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// [`Driver::hibernate`] and [`Driver::resume`] work.
    pub hibernate: bool,
    /// Instances outlive the process that made them, and another process with the same settings lists them.
    pub outlives_owner: bool,
    /// Its listings may hold what other installations made, as where several share an account. Then only what carries the
    /// label of this installation is this installation's. Without that, all that is listed is the caller's, whatever its
    /// labels say.
    pub lists_others: bool,
    /// Most instances that one launch may ask for.
    pub batch_max: u32,
    /// Launches at once that get done sooner than fewer would; none where the site does not care.
    pub launches_at_once: Option<u32>,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { hibernate: false, outlives_owner: false, lists_others: false, batch_max: 1, launches_at_once: None }
    }
}

/// An instance that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// Its id.
    pub id: String,
    /// Where its agent listens or will listen; none while the site does not know.
    pub reach: Option<Reach>,
    /// The DNS name in the certificate that the agent presents until it is given its own identity.
    pub server_name: String,
    /// Whether it must be given its own identity by the agent's claim route before anything else.
    pub needs_claim: bool,
    /// How long each phase of the start took, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// An instance as its site shows it, whether or not anybody here knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Where it is in its life.
    pub life: Life,
    /// What it was marked with when it was launched.
    pub labels: Labels,
    /// What its launch answered, or would have; none of one that is over.
    pub launched: Option<Launched>,
}

/// Makes, lists and ends the instances of one site. Every call is safe to repeat.
pub trait Driver: Send + Sync {
    /// Makes instances and returns when they exist: at least one, and perhaps fewer than were asked for, where the site has
    /// no room for more. Their agents may not answer yet, and their addresses may not be known.
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>>;
    /// Every instance of this site that exists or ended a short while ago.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>>;
    /// Ends an instance and removes all that belongs to it, or sees to it that this happens by itself; an unknown id is a
    /// success. Where a site has instances of other installations, one that does not carry the label of this installation
    /// is refused.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>>;
    /// Returns when the instance ends. A driver that cannot tell never returns; listings tell then.
    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End>;
    /// The last part of the instance's console, for people.
    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String>;
    /// Called after the agent has its identity and before the instance is ready: closes what only the start needed, such as
    /// a cloud's metadata service. An instance for which it fails is not ready, and it is tried again.
    fn before_ready<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async { Ok(()) })
    }
    /// What this driver can do beyond that.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
    /// Puts an idle instance to sleep with its memory, so that it costs little until it is resumed.
    fn hibernate<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move { Err(cannot_hibernate(id)) })
    }
    /// Wakes a hibernated instance and returns when it runs, perhaps with another address.
    fn resume<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Launched, DriverError>> {
        Box::pin(async move { Err(cannot_hibernate(id)) })
    }
}

fn cannot_hibernate(id: &str) -> DriverError {
    let message = format!("instance {id} cannot be hibernated: this driver does not do that");
    DriverError { class: ErrorClass::Invalid, message, source: None }
}
