//! The driver's section of the pool file: the keys of a `spec` of `type: process`, and their effect on a launch.

use std::ops::RangeInclusive;

use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use kiln_pool_file::section::{Instances, Limit, Reader, Section, Variant};
use serde_json::Value;

use crate::error::ProcessError;

/// The driver's name in pool files.
pub const NAME: &str = "process";
/// The only image.
pub(crate) const IMAGE: &str = "process";

/// Values of `nice`, for the pool file and the launch.
const NICE: RangeInclusive<i64> = 0..=19;

static SPEC: Table = Table::closed(
    "process spec",
    &[Key::read("nice", Shape::Number, "how much nicer than the runner its processes are")],
);

static LIMITS: [Limit; 1] = [Limit { path: &["nice"], range: NICE, unit: "" }];

/// Reads and checks the driver's section.
#[derive(Debug)]
pub struct ProcessSection;

impl Section for ProcessSection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn example(&self) -> &'static str {
        "{nice: 5}"
    }

    fn shape(&self) -> Shape {
        Shape::Of(&SPEC)
    }

    fn limits(&self) -> &'static [Limit] {
        &LIMITS
    }

    /// The limits are the only check.
    fn check(&self, _: &Node, _: bool, _: &mut Reader<'_>) {}

    fn check_variant(&self, variant: &Node, reader: &mut Reader<'_>) {
        for key in ["image_name", "machine_type", "disk_size", "disk_type", "zones"] {
            if let (Some((place, _)), Some(_)) = (variant.entry(key), variant.get(key)) {
                let message = format!("`{key}` has no effect here: processes have no such thing");
                let help = "write `kiln: {spec: {nice: 10}}` into the variant";
                reader.warn("no-effect", &place.location, message, help);
            }
        }
    }

    /// None of a variant's own keys applies to processes.
    fn vary(&self, _: &mut Value, _: &Variant, _: &mut Reader<'_>) {}

    /// Puts the values that the engine counts into the launch's fields, and the driver's own into its `spec`.
    fn instances(&self, spec: Value) -> Instances {
        let launch =
            Launch { image: IMAGE.to_owned(), cpus: 1, memory_mib: 16, disk_gib: 1, spec, ..Launch::default() };
        Instances { launch, hibernate: false }
    }
}

/// The values in the spec of a launch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Increment to the runner's nice value.
    pub(crate) nice: u8,
}

impl Spec {
    /// Reads a spec that the section has written. It is checked again, because a request need not come from a pool
    /// file.
    pub(crate) fn of(spec: &Value) -> Result<Self, ProcessError> {
        let nice = spec.get("nice").map_or(Some(0), Value::as_i64).filter(|nice| NICE.contains(nice));
        let refused = || ProcessError::Invalid(format!("`nice` is {} to {}: {spec}", NICE.start(), NICE.end()));
        let nice = nice.and_then(|nice| u8::try_from(nice).ok()).ok_or_else(refused)?;
        Ok(Self { nice })
    }
}

#[cfg(test)]
mod tests {
    use kiln_pool_file::conformance::{breaches, disagreements};

    use super::*;

    const DOCUMENTATION: &str = include_str!("../README.md");

    #[test]
    fn the_pool_file_and_the_launch_agree() {
        let takes = |launch: &Launch| Spec::of(&launch.spec).is_ok() && launch.image == IMAGE;
        assert_eq!(breaches(&ProcessSection, DOCUMENTATION), [""; 0]);
        assert_eq!(disagreements(&ProcessSection, &takes), [""; 0]);
    }
}
