//! Faults of a report.

use crate::source::{REPORT_MAX_BYTES, TAG_MAX_BYTES};

/// Greatest depth of elements.
pub const DEPTH_MAX: usize = 1000;
/// Greatest number of cases of one report.
pub const CASES_MAX: u64 = 1_000_000;
/// Length after which names of elements are cut, in characters.
const NAME_MAX_CHARS: usize = 80;

/// The reason why a report could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The line, from 1, if there is one.
    pub line: Option<u64>,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The report is empty.
    Empty,
    /// The report has no element.
    NoElement,
    /// The outermost element belongs to another format.
    OtherFormat { element: String },
    /// The report ends within an element or another construct.
    Cut { within: String },
    /// An element ends that did not begin, or that is not the innermost one.
    Crossed { found: String, open: Option<(String, u64)> },
    /// The report breaks another rule of XML.
    Malformed(String),
    /// The report is too large.
    ReportTooLarge,
    /// A tag is too large.
    TagTooLarge,
    /// Elements are nested too deeply.
    TooDeep,
    /// The report has too many cases.
    TooManyCases,
    /// The report could not be read.
    Unread(String),
}

impl Fault {
    /// Returns a message in one line. `mask` hides secrets, because any content of a report may be part of it.
    pub(crate) fn message(&self, mask: impl Fn(String) -> String) -> String {
        let name = |text: &str| {
            let text = mask(text.to_owned());
            let mut short: String = text.chars().take(NAME_MAX_CHARS).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            short
        };
        match &self.kind {
            Kind::Empty => "the report is empty".to_owned(),
            Kind::NoElement => "the report has no element: it is no XML".to_owned(),
            Kind::OtherFormat { element } => format!(
                "this is no test report: its outermost element is <{}>; a JUnit report has <testsuites> or <testsuite> there, a TRX \
                 report <TestRun>{}",
                name(element),
                advice(element)
            ),
            Kind::Cut { within } => {
                format!("the report ends within {}, as if its writer had been ended before it was done", name(within))
            }
            Kind::Crossed { found, open: Some((open, line)) } => format!(
                "the report is not well-formed XML: </{}> stands where <{}> of line {line} has to end first; a `<` in text has to be \
                 written `&lt;`",
                name(found),
                name(open)
            ),
            Kind::Crossed { found, open: None } => {
                format!("the report is not well-formed XML: </{}> ends an element that did not begin", name(found))
            }
            Kind::Malformed(why) => format!("the report is not well-formed XML: {}", name(why)),
            Kind::ReportTooLarge => {
                format!("the report has more than {} MiB, and the rest is not read", REPORT_MAX_BYTES >> 20)
            }
            Kind::TagTooLarge => format!(
                "the tag that begins here has more than {} MiB of attributes, and the rest of the report is not read",
                TAG_MAX_BYTES >> 20
            ),
            Kind::TooDeep => {
                format!("more than {DEPTH_MAX} elements stand in each other, and the rest of the report is not read")
            }
            Kind::TooManyCases => {
                format!("the report has more than {CASES_MAX} test cases, and the rest of it is not read")
            }
            Kind::Unread(why) => format!("the report could not be read to its end: {why}"),
        }
    }
}

/// Returns advice for reports of other test tools.
fn advice(element: &str) -> &'static str {
    match element {
        "test-run" | "test-results" => "; NUnit writes a TRX report with `--logger trx`, as a part of `dotnet test`",
        "assemblies" | "assembly" => "; xUnit.net writes JUnit with `-junit`, and TRX with `-trx`",
        "testng-results" => "; TestNG writes JUnit reports into `junitreports`",
        "coverage" => "; it is a report of coverage",
        _ => "",
    }
}
