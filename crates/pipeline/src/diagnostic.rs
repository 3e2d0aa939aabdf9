//! What is told about a file: a code, a place, a message and the way out.

use std::ops::Range;

use serde::Serialize;

/// A place in a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Line, from 1; 0 when the place is the file as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte range in the file.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// How much a diagnostic weighs; the heaviest one of a file is the file's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; changes nothing.
    Note,
    /// Probably not what was meant; the file still runs.
    Warning,
    /// The dialect allows it and Kiln does not run it yet.
    Unsupported,
    /// The dialect does not allow it.
    Invalid,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable name, in kebab case: `unknown-key`, `container-step`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// How to mend it.
    pub help: Option<String>,
}
