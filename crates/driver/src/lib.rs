//! The driver: the one interface by which Kiln makes, lists and ends instances of any kind.
//!
//! A driver is opened for one **site**, which is the scope of one listing, such as the local VMs of one owner or a
//! region of a cloud account. It gets a token before it starts anything. The token is the idempotency token of the
//! launch and a mark on the instances, so that [`Driver::list`] finds a launch whose answer was lost.

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
use kiln_pool::{End, Life, Network};
use kiln_wire::reach::Reach;

pub use error::{DriverError, ErrorClass};

/// A request to launch one batch of equal instances in one place.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The batch's token: unique for ever, lower-case letters, digits and hyphens. It determines the instances' ids,
    /// see [`LaunchRequest::ids`]. A repeated request has the same token and the same content.
    pub token: String,
    /// The number of instances, at most [`Abilities::batch_max`].
    pub count: u32,
    /// The place within the site, as the pool file names it; empty where the site has no places.
    pub place: String,
    /// Name of the image (QEMU: as in `kiln image list`; EC2: an AMI).
    pub image: String,
    /// Virtual processors; 0 where the machine type in `spec` decides.
    pub cpus: u32,
    /// Memory in MiB; 0 where the machine type in `spec` decides.
    pub memory_mib: u32,
    /// Smallest size of the root disk in GiB.
    pub disk_gib: u32,
    /// Data for this driver alone, from its section of the pool file.
    pub spec: serde_json::Value,
    /// What the instances may reach beside the public internet.
    pub network: Network,
    /// The marks on the instances. The launch call itself sets them, and [`Driver::list`] returns them.
    pub labels: Labels,
}

impl LaunchRequest {
    /// Returns the ids of the instances, in order. An id is also the instance's DNS name in certificates.
    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map(|index| id_in_batch(&self.token, index).to_string())
    }
}

/// Marks of an instance, by name. A cloud knows them as tags.
pub type Labels = BTreeMap<String, String>;

/// Abilities of a driver beyond making and ending instances, and properties of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether [`Driver::hibernate`] and [`Driver::resume`] work.
    pub hibernate: bool,
    /// Whether instances outlive the process that made them, so that another process with the same settings lists them.
    pub outlives_owner: bool,
    /// Whether its listings may include instances of other installations, for example where several share an account.
    /// Then an instance belongs to this installation only if it carries its label. Otherwise every listed instance is
    /// the caller's, whatever its labels.
    pub lists_others: bool,
    /// Most instances that one launch may ask for.
    pub batch_max: u32,
    /// Number of concurrent launches beyond which the site gets no faster; none where it does not matter.
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
    /// Duration of each phase of the start, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// An instance as its site shows it, whether or not it has a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Where it is in its life.
    pub life: Life,
    /// The marks from its launch.
    pub labels: Labels,
    /// The answer to its launch, even if it was lost; none for an instance that is over.
    pub launched: Option<Launched>,
}

/// Makes, lists and ends the instances of one site. Every call is safe to repeat.
pub trait Driver: Send + Sync {
    /// Makes instances and returns when they exist: at least one, and perhaps fewer than requested where the site has
    /// no room for more. Their agents may not answer yet, and their addresses may not be known.
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>>;
    /// Returns every instance of this site that exists or ended a short while ago.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>>;
    /// Ends an instance and removes all that belongs to it, or makes sure that this happens by itself. An unknown id is
    /// a success. Where a site has instances of other installations, an instance without the label of this installation
    /// is refused.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>>;
    /// Returns when the instance ends. A driver that cannot tell never returns; the end then shows in listings.
    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End>;
    /// Returns the last part of the instance's console, for people.
    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String>;
    /// Closes whatever only the start needed, such as a cloud's metadata service. It is called after the agent has its
    /// identity and before the instance is ready. If it fails, the instance is not ready and the call is repeated.
    fn before_ready<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async { Ok(()) })
    }
    /// Returns the driver's further abilities.
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
