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

/// How many findings of each severity about one file are kept; the rest is counted.
pub const MAX_DIAGNOSTICS: usize = 200;

impl Location {
    /// The smallest place that covers both ends; line and column are this one's.
    #[must_use]
    pub fn to(&self, end: &Location) -> Location {
        Location { line: self.line, column: self.column, span: self.span.start..end.span.end.max(self.span.end) }
    }
}

impl Diagnostic {
    fn new(severity: Severity, code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, severity, message: message.into(), location: location.clone(), help: None }
    }

    /// A finding about what the dialect does not allow.
    pub fn invalid(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Invalid, code, location, message)
    }

    /// A finding about what the dialect allows and Kiln does not run yet.
    pub fn unsupported(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Unsupported, code, location, message)
    }

    /// A finding that probably shows a mistake, and stops nothing.
    pub fn warning(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, code, location, message)
    }

    /// A finding worth knowing.
    pub fn note(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Note, code, location, message)
    }

    /// The same finding with its way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// Cuts a text that quotes too much of the file.
fn shorten(text: &mut String) {
    /// Longest message, in bytes.
    const MAX_MESSAGE: usize = 600;
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
}

/// Collects findings in the order they are made.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Diagnostic>,
    kept: [usize; 4],
    left_out: usize,
    heaviest: Option<Severity>,
    /// Unknown keys are warnings.
    pub lenient: bool,
}

impl Findings {
    /// An empty collection; `lenient` turns unknown keys into warnings.
    #[must_use]
    pub fn new(lenient: bool) -> Findings {
        Findings { lenient, ..Findings::default() }
    }

    /// Adds one finding.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        shorten(&mut diagnostic.message);
        if let Some(help) = &mut diagnostic.help {
            shorten(help);
        }
        self.heaviest = self.heaviest.max(Some(diagnostic.severity));
        let kept = &mut self.kept[diagnostic.severity as usize];
        if *kept < MAX_DIAGNOSTICS {
            *kept += 1;
            self.list.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether further findings of a severity are only counted, so that nothing needs to be worked out for them.
    #[must_use]
    pub fn is_full(&self, severity: Severity) -> bool {
        self.kept[severity as usize] >= MAX_DIAGNOSTICS
    }

    /// The heaviest severity so far, counting those that were left out.
    #[must_use]
    pub fn heaviest(&self) -> Option<Severity> {
        self.heaviest
    }

    /// All findings in the order of their places; the last one tells how many were left out.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list
            .sort_by_key(|found| (found.location.span.start, found.location.line, std::cmp::Reverse(found.severity)));
        self.list.dedup();
        if self.left_out > 0 {
            let severity = self.heaviest.unwrap_or(Severity::Note);
            let message = format!("{} further findings are left out", self.left_out);
            self.list.push(Diagnostic::new(severity, "too-many-findings", &Location::default(), message));
        }
        self.list
    }
}
