//! What the caller says about how a file is read.

use std::collections::BTreeMap;

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Unknown keys are warnings.
    pub lenient: bool,
    /// Values for variables and `<+input>`s, by the name of a variable (`version`) or by the full path
    /// (`pipeline.stages.build.variables.version`).
    pub inputs: BTreeMap<String, String>,
}
