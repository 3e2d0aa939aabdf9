//! Numbers of a spec with a smallest and a largest value.

use std::fmt;
use std::ops::RangeInclusive;

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::yaml::Node;
use serde_json::Value;

use crate::reader::Reader;

/// Greatest number of MiB that was probably meant as GiB.
const MEANT_GIB_MAX: i64 = 128;

/// Smallest and largest value of a number in a spec.
#[derive(Debug)]
pub struct Limit {
    /// The keys that lead to the number: `["disk", "size"]`.
    pub path: &'static [&'static str],
    /// The allowed values.
    pub range: RangeInclusive<i64>,
    /// Unit of the number, for the message: `MiB`; empty for a plain count.
    pub unit: &'static str,
}

/// The range with its unit: `256 to 4096 MiB`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.range.start(), self.range.end())?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}

impl Limit {
    /// Reports the number of a spec when it is beyond the limit.
    pub(crate) fn check(&self, spec: &Node, reader: &mut Reader<'_>) {
        let Some((key, outer)) = self.path.split_last() else { return };
        let Some(owner) = outer.iter().try_fold(spec, |node, key| node.get(key)) else { return };
        let number = reader.whole(owner, key, i64::MIN..=i64::MAX);
        if let (Some(number), Some(value)) = (number, owner.get(key)) {
            self.report(key, number, &value.location, reader);
        }
    }

    fn report(&self, key: &str, number: i64, at: &Location, reader: &mut Reader<'_>) {
        if self.range.contains(&number) {
            return;
        }
        let message = format!("`{key}` is {self}, not {number}");
        let mut found = Diagnostic::invalid("out-of-range", at, message);
        let mib = number.saturating_mul(1024);
        if self.unit == "MiB" && (1..=MEANT_GIB_MAX).contains(&number) && self.range.contains(&mib) {
            found.help = Some(format!("if GiB are meant, write `{key}: {mib}`"));
        }
        reader.push(found);
    }

    /// Returns the number of a spec, when it is beyond the limit.
    pub(crate) fn beyond(&self, spec: &Value) -> Option<i64> {
        let number = self.path.iter().try_fold(spec, |value, key| value.get(key))?.as_i64()?;
        (!self.range.contains(&number)).then_some(number)
    }
}
