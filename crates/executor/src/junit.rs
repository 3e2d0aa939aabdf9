//! Reading JUnit reports, whoever wrote them.
//!
//! There is no one JUnit format: suites nest or do not, times have commas, counts are missing or wrong. So only test
//! cases are believed, wherever they stand, and a report is read as a stream under limits.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde::Serialize;

/// A report larger than this is not read.
pub const REPORT_MAX_BYTES: usize = 64 << 20;
/// No more failures than this are kept of a step; the counts go on.
const FAILURES_MAX: usize = 200;
/// A failure's text is cut after this many characters.
const TEXT_MAX_CHARS: usize = 2000;

/// What the reports of a step, stage or run add up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tests {
    /// Test cases.
    pub total: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those that failed an assertion.
    pub failed: u64,
    /// Those that broke in another way.
    pub errors: u64,
    /// Those that did not run.
    pub skipped: u64,
    /// The first failures and errors.
    pub failures: Vec<Failure>,
}

/// One failed test case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// Class or file the case belongs to; may be empty.
    pub class: String,
    /// The case's name.
    pub name: String,
    /// What it said.
    pub message: String,
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    /// Larger than [`REPORT_MAX_BYTES`].
    #[error("the report has {0} bytes; at most {REPORT_MAX_BYTES} are read")]
    TooLarge(usize),
    /// Not well-formed XML.
    #[error("the report is not well-formed XML at byte {at}")]
    Xml {
        /// Where.
        at: u64,
        /// Why.
        #[source]
        source: quick_xml::Error,
    },
    /// XML, but no JUnit element in it.
    #[error("the report has no <testsuite> element")]
    NotJunit,
}

impl Tests {
    /// Adds another sum to this one.
    pub fn add(&mut self, other: &Tests) {
        self.total += other.total;
        self.passed += other.passed;
        self.failed += other.failed;
        self.errors += other.errors;
        self.skipped += other.skipped;
        let room = FAILURES_MAX.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.iter().take(room).cloned());
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Passed,
    Failed,
    Error,
    Skipped,
}

struct Case {
    class: String,
    name: String,
    verdict: Verdict,
    message: String,
    text: String,
    in_verdict: bool,
}

/// Reads one report.
pub fn read(xml: &[u8]) -> Result<Tests, JunitError> {
    if xml.len() > REPORT_MAX_BYTES {
        return Err(JunitError::TooLarge(xml.len()));
    }
    // Counts are right whatever the encoding is; a letter that is not UTF-8 is shown as unknown.
    let xml = String::from_utf8_lossy(xml);
    let mut reader = Reader::from_str(&xml);
    reader.config_mut().check_end_names = true;
    let (mut tests, mut case, mut suites) = (Tests::default(), None, false);
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|source| JunitError::Xml { at, source })? {
            Event::Start(tag) => suites |= open(&tag, &mut case),
            Event::Empty(tag) => {
                suites |= open(&tag, &mut case);
                close(tag.local_name().as_ref(), &mut case, &mut tests);
            }
            Event::Text(text) => say(&mut case, &text),
            Event::CData(text) => say(&mut case, &text),
            Event::GeneralRef(entity) => say(&mut case, &character(&entity)),
            Event::End(tag) => close(tag.local_name().as_ref(), &mut case, &mut tests),
            Event::Eof => break,
            _ => {}
        }
    }
    if suites { Ok(tests) } else { Err(JunitError::NotJunit) }
}

fn open(tag: &BytesStart<'_>, case: &mut Option<Case>) -> bool {
    let verdict = match tag.local_name().as_ref() {
        "testsuite" | "testsuites" => return true,
        "testcase" => {
            let class = attribute(tag, "classname").or_else(|| attribute(tag, "file")).unwrap_or_default();
            let name = attribute(tag, "name").unwrap_or_default();
            let (message, text) = Default::default();
            *case = Some(Case { class, name, verdict: Verdict::Passed, message, text, in_verdict: false });
            return false;
        }
        "failure" => Verdict::Failed,
        "error" => Verdict::Error,
        "skipped" => Verdict::Skipped,
        _ => return false,
    };
    if let Some(case) = case {
        case.verdict = verdict;
        case.in_verdict = true;
        if let Some(message) = attribute(tag, "message") {
            case.message = message;
        }
    }
    false
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.try_get_attribute(name).ok().flatten()?;
    // An attribute that cannot be decoded is shown as it stands rather than lost.
    let value = found.normalized_value(XmlVersion::Implicit1_0).unwrap_or(found.value);
    (!value.is_empty()).then(|| value.into_owned())
}

/// Takes a piece of the verdict's text.
fn say(case: &mut Option<Case>, piece: &str) {
    if let Some(case) = case.as_mut().filter(|case| case.in_verdict) {
        let room = TEXT_MAX_CHARS.saturating_sub(case.text.chars().count());
        case.text.extend(piece.chars().take(room));
    }
}

/// What stands for `&amp;` or `&#65;`; of an entity that nobody knows, its name.
fn character(entity: &BytesRef<'_>) -> String {
    match entity.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(entity).map_or_else(|| format!("&{};", &**entity), str::to_owned),
    }
}

/// Adds the text to the message, unless one holds the other.
fn conclude(case: &mut Case) {
    let text = std::mem::take(&mut case.text);
    let text = text.trim();
    let room = TEXT_MAX_CHARS.saturating_sub(case.message.chars().count());
    if text.contains(case.message.as_str()) {
        text.clone_into(&mut case.message);
    } else if room > 0 && !text.is_empty() {
        case.message.push('\n');
        case.message.extend(text.chars().take(room));
    }
}

fn close(name: &str, case: &mut Option<Case>, tests: &mut Tests) {
    match name {
        "failure" | "error" | "skipped" => {
            if let Some(case) = case {
                case.in_verdict = false;
                conclude(case);
            }
        }
        "testcase" => {
            let Some(case) = case.take() else { return };
            tests.total += 1;
            match case.verdict {
                Verdict::Passed => tests.passed += 1,
                Verdict::Skipped => tests.skipped += 1,
                Verdict::Failed => tests.failed += 1,
                Verdict::Error => tests.errors += 1,
            }
            let broken = matches!(case.verdict, Verdict::Failed | Verdict::Error);
            if broken && tests.failures.len() < FAILURES_MAX {
                tests.failures.push(Failure { class: case.class, name: case.name, message: case.message });
            }
        }
        _ => {}
    }
}
