//! Findings shown to people (as rustc shows them) and to programs (one JSON object per file).

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Findings, Location, Severity};
use crate::lookalike;

/// A file's worst finding in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Kiln can carry it out.
    Ok,
    /// The file's format allows it, and Kiln cannot do it yet.
    Unsupported,
    /// The file's format does not allow it.
    Invalid,
}

/// All findings about one file, and the text for showing them.
#[derive(Debug)]
pub struct Report {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Text of the file. Bytes that are not UTF-8 are replaced, and secrets are masked where the format has any.
    pub source: String,
    /// The findings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// [`Report`] in the form for programs.
#[derive(Serialize)]
struct ReportJson<'a> {
    file: &'a str,
    status: Status,
    diagnostics: &'a [Diagnostic],
}

impl Report {
    /// Returns the report on a file, with its findings in the order of their places. A finding caused by an invisible
    /// character says so.
    #[must_use]
    pub fn new(file: &str, source: String, mut findings: Findings) -> Report {
        findings.revise(|found| lookalike::explain(found, &source));
        Report { file: file.to_owned(), source, diagnostics: findings.into_sorted() }
    }

    /// Returns the report of a file that could not be read.
    #[must_use]
    pub fn unreadable(file: &str, error: &std::io::Error) -> Report {
        let found =
            Diagnostic::invalid("unreadable", &Location::default(), format!("the file could not be read: {error}"));
        Report { file: file.to_owned(), source: String::new(), diagnostics: vec![found] }
    }

    /// Drops findings about parts of the file other than these, unless they make the file as a whole invalid.
    pub fn confine(&mut self, parts: &[String]) {
        let concerns = |part: &str| parts.iter().any(|wanted| wanted == part);
        self.diagnostics
            .retain(|found| found.severity == Severity::Invalid || found.part.as_deref().is_none_or(concerns));
    }

    /// Returns the worst finding in one word. Warnings and notes count as [`Status::Ok`].
    #[must_use]
    pub fn status(&self) -> Status {
        match self.diagnostics.iter().map(|found| found.severity).max() {
            Some(Severity::Invalid) => Status::Invalid,
            Some(Severity::Unsupported) => Status::Unsupported,
            _ => Status::Ok,
        }
    }

    /// Returns all findings with the lines that they point at, or an empty text when there are none. `styled` adds
    /// terminal colours.
    #[must_use]
    pub fn text(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "{}\n", one(&self.file, &self.source, diagnostic, &renderer));
        }
        out
    }

    /// Returns one line of JSON: `{"file", "status", "diagnostics": [{code, severity, message, line, column, help}]}`.
    #[must_use]
    pub fn json(&self) -> String {
        let report = ReportJson { file: &self.file, status: self.status(), diagnostics: &self.diagnostics };
        // These types have no maps with keys other than text and no fallible implementations, so this cannot fail.
        serde_json::to_string(&report).unwrap_or_default()
    }
}

fn one(name: &str, source: &str, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Invalid => Level::ERROR,
        Severity::Unsupported => Level::ERROR.with_name("unsupported"),
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = annotate_snippets::Group::with_title(title);
    if diagnostic.location.line == 0 {
        group = group.element(annotate_snippets::Origin::path(name));
    } else {
        let (line, first_line, span) = excerpt(source, diagnostic);
        group = group.element(
            Snippet::source(line).path(name).line_start(first_line).annotation(AnnotationKind::Primary.span(span)),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// Returns the line of a finding, its number and the finding's span in it. Only this line is given to the renderer,
/// because a finding about a whole mapping would otherwise print the whole mapping.
fn excerpt<'a>(source: &'a str, diagnostic: &Diagnostic) -> (&'a str, usize, std::ops::Range<usize>) {
    let boundary = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(diagnostic.location.span.start);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = &source[line_start..line_end];
    let end = boundary(diagnostic.location.span.end).clamp(start, line_end);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let from = (start - line_start).min(line.len());
    let to = (end - line_start).clamp(from, line.len());
    let trimmed = line[from..to].trim_end().len();
    (line, diagnostic.location.line as usize, from..from + trimmed)
}
