//! Findings about a file: each has a code, a place, a message and a suggestion.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::count::counted;
use crate::lookalike;

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

/// Seriousness of a finding. The heaviest finding of a file decides its [`Status`](crate::Status).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; changes nothing.
    Note,
    /// Probably not what was meant; the file still runs.
    Warning,
    /// The file's format allows it and Kiln cannot do it yet.
    Unsupported,
    /// The file's format does not allow it.
    Invalid,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable name, in kebab case: `unknown-key`, `container-step`.
    pub code: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// The fault, in one sentence without a full stop.
    pub message: String,
    /// Its place.
    #[serde(flatten)]
    pub location: Location,
    /// A way to correct it.
    pub help: Option<String>,
    /// The part of the file that it is about, such as a stage, if that part can be left out.
    #[serde(skip)]
    pub part: Option<Arc<str>>,
}

/// Number of findings of each severity that are kept for one file. Further ones are only counted.
pub const MAX_DIAGNOSTICS: usize = 200;

impl Location {
    /// Returns the smallest place that covers both; line and column are those of `self`.
    #[must_use]
    pub fn to(&self, end: &Location) -> Location {
        Location { line: self.line, column: self.column, span: self.span.start..end.span.end.max(self.span.end) }
    }
}

impl Diagnostic {
    fn new(severity: Severity, code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, severity, message: message.into(), location: location.clone(), help: None, part: None }
    }

    /// Returns a finding about something that the format does not allow.
    pub fn invalid(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Invalid, code, location, message)
    }

    /// Returns a finding about something that the format allows and Kiln cannot do yet.
    pub fn unsupported(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Unsupported, code, location, message)
    }

    /// Returns a finding that is probably a mistake and stops nothing.
    pub fn warning(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, code, location, message)
    }

    /// Returns a finding that is worth knowing.
    pub fn note(code: &'static str, location: &Location, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Note, code, location, message)
    }

    /// Sets the part of the file that it is about.
    #[must_use]
    pub fn of_part(mut self, part: &str) -> Diagnostic {
        self.part = Some(part.into());
        self
    }

    /// Adds the suggestion.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// Truncates a text that quotes too much of the file.
fn shorten(text: &mut String) {
    /// Longest message, in bytes.
    const MAX_MESSAGE: usize = 600;
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
}

/// Returns whether equal findings of this kind at many places are one finding about the file.
fn is_about_all(found: &Diagnostic) -> bool {
    found.severity == Severity::Note || found.code == lookalike::CODE
}

/// Merges equal findings about the file as a whole into the first one, which then names the other lines.
fn once(list: Vec<Diagnostic>) -> Vec<Diagnostic> {
    /// Most other lines that it names.
    const NAMED: usize = 5;
    let mut kept: Vec<Diagnostic> = Vec::with_capacity(list.len());
    let mut first: HashMap<(&'static str, String), usize> = HashMap::new();
    let mut others: HashMap<usize, Vec<u32>> = HashMap::new();
    for found in list {
        if is_about_all(&found) {
            match first.entry((found.code, found.message.clone())) {
                Entry::Occupied(at) => {
                    let kept: &mut Diagnostic = &mut kept[*at.get()];
                    kept.part = kept.part.take().filter(|part| found.part.as_ref() == Some(part));
                    others.entry(*at.get()).or_default().push(found.location.line);
                    continue;
                }
                Entry::Vacant(place) => {
                    place.insert(kept.len());
                }
            }
        }
        kept.push(found);
    }
    for (at, mut lines) in others {
        lines.dedup();
        lines.retain(|line| *line != kept[at].location.line);
        let named: Vec<String> = lines.iter().take(NAMED).map(u32::to_string).collect();
        match lines.len() {
            0 => {}
            1 => kept[at].message.push_str(&format!(" (also in line {})", named[0])),
            n if n > NAMED => {
                kept[at].message.push_str(&format!(" (also in lines {} and {} more)", named.join(", "), n - NAMED));
            }
            _ => kept[at].message.push_str(&format!(" (also in lines {})", named.join(", "))),
        }
    }
    kept
}

/// Collects findings in the order in which they are made.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Diagnostic>,
    kept: [usize; 4],
    left_out: usize,
    heaviest: Option<Severity>,
    /// Whether unknown keys are warnings instead of errors.
    pub lenient: bool,
}

impl Findings {
    /// Returns an empty collection; `lenient` turns unknown keys into warnings.
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

    /// Returns a mark for [`Findings::belong_to`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.list.len()
    }

    /// Sets the part of all findings since a mark that name none.
    pub fn belong_to(&mut self, part: &str, since: usize) {
        let part: Arc<str> = part.into();
        for found in self.list.iter_mut().skip(since) {
            found.part.get_or_insert_with(|| Arc::clone(&part));
        }
    }

    /// Returns whether further findings of this severity are only counted, so that their text need not be worked out.
    #[must_use]
    pub fn is_full(&self, severity: Severity) -> bool {
        self.kept[severity as usize] >= MAX_DIAGNOSTICS
    }

    /// Returns whether there already is a finding of this code at this place.
    #[must_use]
    pub fn tells(&self, code: &str, at: &Location) -> bool {
        self.list.iter().any(|found| found.code == code && found.location == *at)
    }

    /// Returns the finding that was made first.
    #[must_use]
    pub fn first(&self) -> Option<&Diagnostic> {
        self.list.first()
    }

    /// Returns the heaviest severity so far, including findings that were left out.
    #[must_use]
    pub fn heaviest(&self) -> Option<Severity> {
        self.heaviest
    }

    /// Changes every finding so far with `revise`, which must leave its severity as it is.
    pub fn revise(&mut self, revise: impl Fn(&mut Diagnostic)) {
        self.list.iter_mut().for_each(revise);
    }

    /// Returns all findings in the order of their places, and equal ones about the file as a whole once. The last one
    /// says how many were left out.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list
            .sort_by_key(|found| (found.location.span.start, found.location.line, std::cmp::Reverse(found.severity)));
        self.list.dedup();
        self.list = once(self.list);
        if self.left_out > 0 {
            let severity = self.heaviest.unwrap_or(Severity::Note);
            let verb = if self.left_out == 1 { "is" } else { "are" };
            let message = format!("{} {verb} left out", counted(self.left_out, "further finding"));
            self.list.push(Diagnostic::new(severity, "too-many-findings", &Location::default(), message));
        }
        self.list
    }
}
