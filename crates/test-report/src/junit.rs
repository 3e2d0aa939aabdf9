//! JUnit reports of all writers.
//!
//! Writers differ: suites may be nested, times may have commas, counts are missing or wrong. So the cases themselves
//! are counted, wherever they are. A case that failed first and passed later has `<flakyFailure>` or `<flakyError>`, as
//! Surefire and nextest write it; one that failed again has `<rerunFailure>` or `<rerunError>` beside its `<failure>`
//! or `<error>`.

use std::time::Duration;

use kiln_wire::run::{TestCase, TestResult};

use crate::case::{Out, passed, worse};
use crate::fault::Kind;
use crate::words::{Words, joined};
use crate::xml::Tag;

/// Reads the elements of a JUnit report.
#[derive(Default)]
pub(crate) struct Junit {
    /// Number of open elements.
    depth: usize,
    suites: Vec<Suite>,
    case: Option<Open>,
    /// A verdict outside of all cases.
    outside: Option<Verdict>,
}

struct Suite {
    name: String,
    file: String,
    depth: usize,
}

/// A case whose element is open.
struct Open {
    case: TestCase,
    depth: usize,
    verdict: Option<Verdict>,
}

/// An element such as `<failure>` that is open.
struct Verdict {
    depth: usize,
    line: u64,
    kind: &'static str,
    message: String,
    text: Words,
    /// Depth of an inner element whose text is not part of the verdict.
    aside: Option<usize>,
}

/// The meaning of an element for its case.
enum Says {
    Ended(TestResult),
    /// The case failed, and passed in a later attempt.
    Flaky,
    /// The case failed again.
    Again,
}

fn says(element: &str) -> Option<(Says, &'static str)> {
    Some(match element {
        "failure" => (Says::Ended(TestResult::Failed), "failure"),
        "error" => (Says::Ended(TestResult::Error), "error"),
        "skipped" => (Says::Ended(TestResult::Skipped), "skipped"),
        "flakyFailure" | "flakyError" => (Says::Flaky, "flaky"),
        "rerunFailure" | "rerunError" => (Says::Again, "rerun"),
        _ => return None,
    })
}

impl Junit {
    pub(crate) fn open(&mut self, tag: &Tag<'_>, line: u64, out: &mut Out<'_>) -> Result<(), Kind> {
        self.depth += 1;
        match tag.name {
            "testsuite" => {
                let (name, file) =
                    (out.name(tag.get("name")), out.name(tag.get("file").or_else(|| tag.get("filepath"))));
                self.suites.push(Suite { name, file, depth: self.depth });
            }
            "testcase" => {
                // Nested cases are not standard. The inner one counts for itself.
                if let Some(open) = self.case.take() {
                    out.case(open.case)?;
                }
                self.case = Some(Open { case: self.case_of(tag, out), depth: self.depth, verdict: None });
            }
            element => self.element(element, tag, line, out),
        }
        Ok(())
    }

    fn case_of(&self, tag: &Tag<'_>, out: &Out<'_>) -> TestCase {
        let file = tag.get("file").map_or_else(
            || self.suites.last().map(|suite| suite.file.clone()).unwrap_or_default(),
            |file| out.name(Some(file)),
        );
        let class = out.name(tag.get("classname").or_else(|| tag.get("class")).or_else(|| tag.get("file")));
        let duration = tag.get("time").and_then(|time| seconds(&time));
        let mut case = passed(class, out.name(tag.get("name")), file, duration);
        // googletest and CTest write it as an attribute, without an element.
        if matches!(tag.get("status").as_deref(), Some("notrun" | "disabled" | "skipped")) {
            case.result = TestResult::Skipped;
        }
        case
    }

    fn element(&mut self, element: &str, tag: &Tag<'_>, line: u64, out: &Out<'_>) {
        let depth = self.depth;
        let outside = &mut self.outside;
        let (begun, within) = match &mut self.case {
            Some(open) => (Some(&mut open.case), (&mut open.verdict, open.depth)),
            None => (None, (outside, self.suites.last().map_or(0, |suite| suite.depth))),
        };
        let (verdict, parent_depth) = within;
        if let Some(verdict) = verdict {
            if matches!(element, "system-out" | "system-err") {
                verdict.aside.get_or_insert(depth);
            }
            return;
        }
        if depth != parent_depth + 1 {
            return;
        }
        let Some((says, kind)) = says(element) else { return };
        match (begun, says) {
            (Some(case), Says::Ended(result)) => case.result = worse(case.result, result),
            (Some(case), Says::Flaky) => case.flaky = true,
            (None, Says::Ended(TestResult::Failed | TestResult::Error)) => {}
            (_, Says::Again) | (None, _) => return,
        }
        let message = out.message(tag.get("message").or_else(|| tag.get("type")));
        *verdict = Some(Verdict { depth, line, kind, message, text: Words::new(&out.secrets), aside: None });
    }

    pub(crate) fn text(&mut self, piece: &str) {
        let verdict = self.case.as_mut().map_or(&mut self.outside, |open| &mut open.verdict);
        if let Some(verdict) = verdict.as_mut().filter(|verdict| verdict.aside.is_none()) {
            verdict.text.push(piece);
        }
    }

    pub(crate) fn close(&mut self, out: &mut Out<'_>) -> Result<(), Kind> {
        let depth = self.depth;
        self.depth -= 1;
        let verdict = self.case.as_mut().map_or(&mut self.outside, |open| &mut open.verdict);
        if let Some(verdict) = verdict.as_mut().filter(|verdict| verdict.aside == Some(depth)) {
            verdict.aside = None;
        }
        if let Some(ended) = verdict.take_if(|verdict| verdict.depth == depth) {
            self.conclude(ended, out);
        }
        if let Some(open) = self.case.take_if(|open| open.depth == depth) {
            let mut case = open.case;
            case.flaky &= case.result == TestResult::Passed;
            out.case(case)?;
        }
        self.suites.pop_if(|suite| suite.depth == depth);
        Ok(())
    }

    /// Adds a verdict to its case, or adds it as a remark if it is outside of all cases.
    fn conclude(&mut self, verdict: Verdict, out: &mut Out<'_>) {
        let message = joined(verdict.message, &verdict.text.finish());
        match &mut self.case {
            Some(open) if open.case.message.is_empty() => open.case.message = message,
            Some(open) => open.case.message = joined(std::mem::take(&mut open.case.message), &message),
            None => {
                let suite = self.suites.last().map(|suite| suite.name.as_str()).unwrap_or_default();
                let says = if message.is_empty() { verdict.kind.to_owned() } else { message };
                out.remark(verdict.line, format!("the suite {suite} failed outside of its cases: {says}"));
            }
        }
    }
}

/// Reads a time in seconds. Some writers group thousands with commas, and some have a comma before the fraction.
fn seconds(text: &str) -> Option<Duration> {
    let plain = if text.contains('.') { text.replace(',', "") } else { text.replace(',', ".") };
    Duration::try_from_secs_f64(plain.trim().trim_end_matches('s').parse().ok()?).ok()
}
