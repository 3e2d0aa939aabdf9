//! Findings for people (as rustc shows them) and for programs (one JSON object per file).

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Severity};
use crate::load::{Loaded, Status};

/// The findings of one file as a program reads them.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// The file.
    pub file: &'a str,
    /// Its worst finding.
    pub status: Status,
    /// All findings.
    pub diagnostics: &'a [Diagnostic],
}

impl<'a> From<&'a Loaded> for Report<'a> {
    fn from(loaded: &'a Loaded) -> Report<'a> {
        Report { file: &loaded.name, status: loaded.status(), diagnostics: &loaded.diagnostics }
    }
}

/// One line of JSON: `{"file", "status", "diagnostics": [{code, severity, message, line, column, help}]}`.
///
/// # Errors
/// None that the types of a report can cause.
pub fn json(loaded: &Loaded) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Report::from(loaded))
}

/// All findings of a file with their place in it; empty when there are none. `styled` adds terminal colours.
#[must_use]
pub fn text(loaded: &Loaded, styled: bool) -> String {
    findings_text(&loaded.name, &loaded.source, &loaded.diagnostics, styled)
}

/// The same for findings about any file of this name and text.
#[must_use]
pub fn findings_text(name: &str, source: &str, diagnostics: &[Diagnostic], styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let _ = writeln!(out, "{}\n", one(name, source, diagnostic, &renderer));
    }
    out
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

/// The line of a finding, its number and the finding's span in it. Only that line is given to the renderer: a
/// finding about a whole mapping would otherwise print the whole mapping.
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
