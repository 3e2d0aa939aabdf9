//! Reads JUnit reports of any writer.
//!
//! Writers differ: suites nest or do not, times have commas, counts are missing or wrong. So this module counts the test cases
//! itself, wherever they stand. It reads a report as a stream, under limits.

use std::sync::Arc;
use std::time::Duration;

use kiln_mask::{Masker, Secrets};
use kiln_wire::run::{TestCase, TestResult, Tests};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::encoding;
use crate::tally::Tally;

/// Greatest size of a report that is read, in bytes.
pub const REPORT_MAX_BYTES: usize = 64 << 20;
/// A message is cut after this many characters.
const TEXT_MAX_CHARS: usize = 2000;
/// Names and classes are cut after this many characters.
const NAME_MAX_CHARS: usize = 500;

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    /// It is larger than [`REPORT_MAX_BYTES`].
    #[error("the report has {0} bytes; at most {REPORT_MAX_BYTES} are read")]
    TooLarge(usize),
    /// It is not well-formed XML.
    #[error("the report is not well-formed XML at byte {at}")]
    Xml {
        /// Where, in bytes.
        at: u64,
        /// Why.
        #[source]
        source: quick_xml::Error,
    },
    /// It has no element of JUnit.
    #[error("the report has no <testsuite> element")]
    NotJunit,
}

/// A case whose element is open.
struct Open {
    case: TestCase,
    /// The text of its verdict so far, which is masked before it is cut: half a secret must not remain.
    text: String,
    /// There within a verdict.
    masker: Option<Masker>,
}

/// Reads one report. Secrets are masked in its texts.
pub fn read(xml: &[u8], secrets: &Arc<Secrets>) -> Result<Tests, JunitError> {
    if xml.len() > REPORT_MAX_BYTES {
        return Err(JunitError::TooLarge(xml.len()));
    }
    let xml = encoding::text(xml);
    let mut reader = Reader::from_str(&xml);
    reader.config_mut().check_end_names = true;
    let (mut tally, mut case, mut suites) = (Tally::new(), None, false);
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|source| JunitError::Xml { at, source })? {
            Event::Start(tag) => suites |= open(&tag, &mut case, secrets),
            Event::Empty(tag) => {
                suites |= open(&tag, &mut case, secrets);
                close(tag.local_name().as_ref(), &mut case, &mut tally);
            }
            Event::Text(text) => say(&mut case, &text),
            Event::CData(text) => say(&mut case, &text),
            Event::GeneralRef(entity) => say(&mut case, &character(&entity)),
            Event::End(tag) => close(tag.local_name().as_ref(), &mut case, &mut tally),
            Event::Eof => break,
            _ => {}
        }
    }
    if suites { Ok(tally.finish()) } else { Err(JunitError::NotJunit) }
}

/// Takes the beginning of an element, and returns whether it is a suite.
fn open(tag: &BytesStart<'_>, case: &mut Option<Open>, secrets: &Arc<Secrets>) -> bool {
    let cut = |text: String, max_chars| secrets.mask(text).chars().take(max_chars).collect::<String>();
    let result = match tag.local_name().as_ref() {
        "testsuite" | "testsuites" => return true,
        "testcase" => {
            let class = attribute(tag, "classname").or_else(|| attribute(tag, "file")).unwrap_or_default();
            let name = attribute(tag, "name").unwrap_or_default();
            let duration = attribute(tag, "time").and_then(|time| seconds(&time));
            let (class, name) = (cut(class, NAME_MAX_CHARS), cut(name, NAME_MAX_CHARS));
            let new = TestCase { class, name, result: TestResult::Passed, duration, message: String::new() };
            *case = Some(Open { case: new, text: String::new(), masker: None });
            return false;
        }
        "failure" => TestResult::Failed,
        "error" => TestResult::Error,
        "skipped" => TestResult::Skipped,
        _ => return false,
    };
    if let Some(open) = case {
        open.case.result = result;
        open.masker = Some(Masker::new(Arc::clone(secrets)));
        if let Some(message) = attribute(tag, "message") {
            open.case.message = cut(message, TEXT_MAX_CHARS);
        }
    }
    false
}

/// Reads a time in seconds. Some writers group thousands with commas, and some have a comma before the fraction.
fn seconds(text: &str) -> Option<Duration> {
    let plain = if text.contains('.') { text.replace(',', "") } else { text.replace(',', ".") };
    Duration::try_from_secs_f64(plain.trim().parse().ok()?).ok()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.try_get_attribute(name).ok().flatten()?;
    // An attribute that cannot be decoded is shown as it stands rather than lost.
    let value = found.normalized_value(XmlVersion::Implicit1_0).unwrap_or(found.value);
    (!value.is_empty()).then(|| value.into_owned())
}

/// Takes a piece of the verdict's text.
fn say(case: &mut Option<Open>, piece: &str) {
    if let Some(Open { text, masker: Some(masker), .. }) = case {
        masker.push(piece.as_bytes(), |settled| add(text, &settled));
    }
}

/// Adds a piece as far as there is room.
fn add(text: &mut String, piece: &[u8]) {
    let room = TEXT_MAX_CHARS.saturating_sub(text.chars().count());
    text.extend(String::from_utf8_lossy(piece).chars().take(room));
}

/// Returns what stands for `&amp;` or `&#65;`; of an entity that nobody knows, its name.
fn character(entity: &BytesRef<'_>) -> String {
    match entity.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(entity).map_or_else(|| format!("&{};", &**entity), str::to_owned),
    }
}

/// Adds the text to the message, unless one holds the other.
fn conclude(open: &mut Open) {
    if let Some(mut masker) = open.masker.take() {
        masker.finish(|settled| add(&mut open.text, &settled));
    }
    let (message, text) = (&mut open.case.message, std::mem::take(&mut open.text));
    let text = text.trim();
    let room = TEXT_MAX_CHARS.saturating_sub(message.chars().count());
    if text.contains(message.as_str()) {
        text.clone_into(message);
    } else if room > 0 && !text.is_empty() {
        message.push('\n');
        message.extend(text.chars().take(room));
    }
}

/// Takes the end of an element.
fn close(name: &str, case: &mut Option<Open>, tally: &mut Tally) {
    match name {
        "failure" | "error" | "skipped" => {
            if let Some(open) = case {
                conclude(open);
            }
        }
        "testcase" => {
            if let Some(open) = case.take() {
                tally.push(open.case);
            }
        }
        _ => {}
    }
}
