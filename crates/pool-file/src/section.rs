//! A driver's part of the pool file: the words of its `spec` and the launch that they describe.
//!
//! ```text
//! spec of the pool ──shape, check, limits──► JSON ──complete──► base ──vary, kiln.spec──► variant
//!                                                                └──────instances─────────┴──► kiln_pool::Launch
//! ```
//! A driver implements [`Section`] beside its own code and passes it to [`crate::load`]. Nothing in this crate changes
//! for it.

use std::fmt;

use kiln_document::schema::{Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use serde_json::Value;

pub use crate::limit::Limit;
pub use crate::reader::Reader;

/// A driver's section of the pool file.
pub trait Section: fmt::Debug + Send + Sync {
    /// Returns the driver's name, as in `type`.
    fn name(&self) -> &'static str;

    /// Returns other common names of the driver. They are errors that suggest this driver.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns a smallest spec that can be launched, for suggestions: `{image: ubuntu}`.
    fn example(&self) -> &'static str;

    /// Returns the shape of a `spec`, usually [`Shape::Of`] a closed table. [`Shape::Any`] is for specs that are not
    /// checked; a pool may omit such a spec.
    fn shape(&self) -> Shape;

    /// Returns the tables of words that drone-runner-aws knows too. They are used to say where a misplaced key belongs.
    fn incumbent_tables(&self) -> &'static [&'static Table] {
        &[]
    }

    /// Returns the numbers of a spec with a smallest and a largest value. They are checked before [`Section::check`] is
    /// called.
    fn limits(&self) -> &'static [Limit] {
        &[]
    }

    /// Reports values of a spec that make no sense. The spec has the section's shape. `whole` is false for a spec that
    /// is merged into a pool's spec, which need not be complete.
    fn check(&self, spec: &Node, whole: bool, reader: &mut Reader<'_>);

    /// Reports keys of a variant that the driver has no use for.
    fn check_variant(&self, _variant: &Node, _reader: &mut Reader<'_>) {}

    /// Reports keys of a pool's `kiln` mapping that the driver has no use for.
    fn check_additions(&self, _own: &Node, _reader: &mut Reader<'_>) {}

    /// Returns whether the driver closes and opens what a pool's `kiln.network` says. Otherwise the key is warned about.
    fn isolates(&self) -> bool {
        false
    }

    /// Adds data of the pool as a whole to its spec.
    fn complete(&self, _spec: &mut Value, _platform: &Platform) {}

    /// Merges a variant's own keys into a spec.
    fn vary(&self, spec: &mut Value, variant: &Variant, reader: &mut Reader<'_>);

    /// Returns the instances that a spec describes. The spec may be any value of the section's shape, or null where it
    /// was invalid.
    fn instances(&self, spec: Value) -> Instances;
}

/// The instances that a spec describes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instances {
    /// The launch.
    pub launch: Launch,
    /// Whether warm instances sleep until they are needed.
    pub hibernate: bool,
}

/// Operating system and architecture of a pool's instances.
#[derive(Debug, Clone)]
pub struct Platform {
    /// `linux`, `windows` or `darwin`.
    pub os: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// Distribution, where the file names one.
    pub os_name: Option<String>,
}

/// A variant from the file, without its `kiln.spec`.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub id: String,
    /// Its image.
    pub image_name: Option<String>,
    /// Its instance type.
    pub machine_type: Option<String>,
    /// Size of its root disk in GiB.
    pub disk_gib: Option<u32>,
    /// Kind of its root disk.
    pub disk_type: Option<String>,
    /// Zones of its instances; empty for all.
    pub zones: Vec<String>,
    /// Whether its warm instances sleep, if the variant says so. It overrides [`Instances::hibernate`].
    pub hibernate: Option<bool>,
    /// Its place, for findings.
    pub location: kiln_document::Location,
}
