//! The caller's options for reading a file.

use std::collections::BTreeMap;

/// Options for reading a file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Unknown keys are warnings.
    pub lenient: bool,
    /// Values for variables and `<+input>`s, by the name of a variable (`version`) or by the full path
    /// (`pipeline.stages.build.variables.version`). They take precedence over input sets.
    pub inputs: BTreeMap<String, String>,
    /// Input sets. If several have a value, the last one counts.
    pub input_sets: Vec<Source>,
    /// Files that may contain the templates that the pipeline names. Files without a template are skipped.
    pub templates: Vec<Source>,
}

/// A further file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Name for messages.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}
