//! What the caller says about how a file is read.

use std::collections::BTreeMap;

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Unknown keys are warnings.
    pub lenient: bool,
    /// Values for variables and `<+input>`s, by the name of a variable (`version`) or by the full path
    /// (`pipeline.stages.build.variables.version`). They come before those of input sets.
    pub inputs: BTreeMap<String, String>,
    /// Input sets; where several have a value, the last one's is taken.
    pub input_sets: Vec<Source>,
    /// Files among which the templates are that the pipeline names. A file that holds no template is passed over.
    pub templates: Vec<Source>,
}

/// A further file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// What messages call it.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}
