//! What a driver contributes to the pool file: the words of its `spec` and what is launched for them.
//!
//! ```text
//! spec of the pool ──shape, check, limits──► JSON ──complete──► base ──vary, kiln.spec──► variant
//!                                                                └──────instances─────────┴──► kiln_pool::Launch
//! ```
//! A driver implements [`Section`] beside its own code and hands it to [`crate::load`]; nothing in this crate changes for it.

use std::fmt;

use kiln_document::schema::{Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use serde_json::Value;

pub use crate::limit::Limit;
pub use crate::reader::Reader;

/// A driver's section of the pool file.
pub trait Section: fmt::Debug + Send + Sync {
    /// Name of the driver, as `type` gives it.
    fn name(&self) -> &'static str;

    /// Other names that people give the driver. They are errors with this driver as the suggestion.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// A smallest spec that can be launched, for suggestions: `{image: ubuntu}`.
    fn example(&self) -> &'static str;

    /// Shape of a `spec`, usually [`Shape::Of`] a closed table. [`Shape::Any`] is for specs that nobody looks at; a pool may
    /// leave such a spec out.
    fn shape(&self) -> Shape;

    /// Tables of words that drone-runner-aws knows too. They are used to say where a misplaced key belongs.
    fn incumbent_tables(&self) -> &'static [&'static Table] {
        &[]
    }

    /// Numbers of a spec that have a smallest and a largest value. They are checked before [`Section::check`] is called.
    fn limits(&self) -> &'static [Limit] {
        &[]
    }

    /// Reports values of a spec that make no sense. The spec has the section's shape. `whole` is false for one that is laid
    /// over a pool's spec, which need not be complete.
    fn check(&self, spec: &Node, whole: bool, reader: &mut Reader<'_>);

    /// Reports keys of a variant that the driver has no use for.
    fn check_variant(&self, _variant: &Node, _reader: &mut Reader<'_>) {}

    /// Reports keys of a pool's `kiln` mapping that the driver has no use for.
    fn check_additions(&self, _own: &Node, _reader: &mut Reader<'_>) {}

    /// Adds to a pool's spec what only the pool as a whole says.
    fn complete(&self, _spec: &mut Value, _platform: &Platform) {}

    /// Lays a variant's own keys over a spec.
    fn vary(&self, spec: &mut Value, variant: &Variant, reader: &mut Reader<'_>);

    /// Returns the instances that a spec describes. The spec may be anything that has the section's shape, and null where
    /// it was invalid.
    fn instances(&self, spec: Value) -> Instances;
}

/// The instances that a spec describes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instances {
    /// What is launched.
    pub launch: Launch,
    /// Whether warm ones sleep until they are needed.
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

/// A variant as it stands in the file, without what is laid over the spec as it is.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub id: String,
    /// Image.
    pub image_name: Option<String>,
    /// Instance type.
    pub machine_type: Option<String>,
    /// Root disk in GiB.
    pub disk_gib: Option<u32>,
    /// Kind of root disk.
    pub disk_type: Option<String>,
    /// Zones that its instances may be in; empty for all.
    pub zones: Vec<String>,
    /// Whether warm ones sleep, where the variant says so. It takes the place of [`Instances::hibernate`].
    pub hibernate: Option<bool>,
    /// Where it stands, for findings.
    pub location: kiln_document::Location,
}
