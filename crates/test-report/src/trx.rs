//! TRX reports, the test results of Visual Studio and `dotnet test`.
//!
//! The results come first and name their tests by an id; the tests, with their classes, follow. So cases are held until
//! their class is known, up to a limit.

use std::collections::HashMap;
use std::time::Duration;

use kiln_wire::run::{TestCase, TestResult};

use crate::case::{Out, passed};
use crate::fault::Kind;
use crate::words::{Words, joined};
use crate::xml::Tag;

/// Greatest size of the texts of held cases, in bytes. Further cases get no class.
const HELD_MAX_BYTES: usize = 64 << 20;
/// Approximate size of a case without its texts.
const CASE_BYTES: usize = 300;

/// Reads the elements of a TRX report.
#[derive(Default)]
pub(crate) struct Trx {
    depth: usize,
    /// The open results. Data-driven ones contain the results of their rows.
    open: Vec<Open>,
    text: Option<Text>,
    held: Vec<TestCase>,
    held_bytes: usize,
    /// The held cases of each test.
    of_test: HashMap<String, Vec<u32>>,
    /// The test id of the open definition.
    test: Option<String>,
    /// The depth at which the text of a remark about the whole run is expected, and its line.
    info: Option<(usize, u64)>,
}

struct Open {
    case: TestCase,
    id: String,
    depth: usize,
    message: String,
    has_rows: bool,
}

/// A text that is being read.
struct Text {
    words: Words,
    depth: usize,
}

impl Trx {
    pub(crate) fn open(&mut self, tag: &Tag<'_>, line: u64, out: &mut Out<'_>) {
        self.depth += 1;
        let depth = self.depth;
        match tag.name {
            name if name.ends_with("TestResult") || name == "TestResultAggregation" => {
                if let Some(parent) = self.open.last_mut() {
                    parent.has_rows = true;
                }
                let mut case = passed(
                    String::new(),
                    out.name(tag.get("testName")),
                    String::new(),
                    tag.get("duration").and_then(|text| span(&text)),
                );
                let mut message = String::new();
                match tag.get("outcome") {
                    Some(outcome) => case.result = result(&outcome),
                    None => {
                        case.result = TestResult::Error;
                        "the report does not say how it ended".clone_into(&mut message);
                    }
                }
                let id = out.name(tag.get("testId"));
                self.open.push(Open { case, id, depth, message, has_rows: false });
            }
            "Message" | "StackTrace" if !self.open.is_empty() => {
                self.text = Some(Text { words: Words::new(&out.secrets), depth });
            }
            "RunInfo" if tag.get("outcome").is_some_and(|outcome| result(&outcome) != TestResult::Passed) => {
                self.info = Some((depth, line));
            }
            "Text" if self.info.is_some() => self.text = Some(Text { words: Words::new(&out.secrets), depth }),
            "UnitTest" => self.test = tag.get("id").map(|id| out.name(Some(id))),
            "TestMethod" => self.classify(tag, out),
            _ => {}
        }
    }

    pub(crate) fn text(&mut self, piece: &str) {
        if let Some(text) = &mut self.text {
            text.words.push(piece);
        }
    }

    pub(crate) fn close(&mut self, out: &mut Out<'_>) -> Result<(), Kind> {
        let depth = self.depth;
        self.depth -= 1;
        if let Some(text) = self.text.take_if(|text| text.depth == depth) {
            let text = text.words.finish();
            match (self.open.last_mut(), self.info) {
                (Some(open), _) => open.message = joined(std::mem::take(&mut open.message), &text),
                (None, Some((_, line))) => {
                    out.remark(line, format!("the run of the tests failed outside of its cases: {text}"))
                }
                (None, None) => {}
            }
        }
        self.info.take_if(|(at, _)| *at == depth);
        if let Some(open) = self.open.pop_if(|open| open.depth == depth) {
            self.hold(open, out)?;
        }
        Ok(())
    }

    /// Passes on the held cases, because no more classes follow.
    pub(crate) fn finish(&mut self, out: &mut Out<'_>) -> Result<(), Kind> {
        self.of_test.clear();
        std::mem::take(&mut self.held).into_iter().try_for_each(|case| out.case(case))
    }

    fn hold(&mut self, open: Open, out: &mut Out<'_>) -> Result<(), Kind> {
        // Its rows are counted one by one.
        if open.has_rows {
            return Ok(());
        }
        let mut case = open.case;
        if case.result != TestResult::Passed {
            case.message = open.message;
        }
        let bytes = CASE_BYTES + case.name.len() + case.message.len() + open.id.len();
        if self.held_bytes + bytes > HELD_MAX_BYTES {
            self.finish(out)?;
            return out.case(case);
        }
        self.held_bytes += bytes;
        self.of_test.entry(open.id).or_default().push(self.held.len() as u32);
        self.held.push(case);
        Ok(())
    }

    /// Sets the class of a test's held cases.
    fn classify(&mut self, tag: &Tag<'_>, out: &Out<'_>) {
        let Some(numbers) = self.test.take().and_then(|id| self.of_test.remove(&id)) else { return };
        let class = out.name(tag.get("className"));
        // Old versions append the assembly.
        let class = class.split(',').next().unwrap_or_default().trim();
        for number in numbers {
            let Some(case) = self.held.get_mut(number as usize) else { continue };
            if let Some(method) = case.name.strip_prefix(class).and_then(|rest| rest.strip_prefix('.')) {
                case.name = method.to_owned();
            }
            class.clone_into(&mut case.class);
        }
    }
}

/// Returns the result for a word of `TestOutcome`.
fn result(outcome: &str) -> TestResult {
    match outcome {
        "Passed" | "Completed" | "Warning" => TestResult::Passed,
        "Failed" => TestResult::Failed,
        "NotExecuted" | "Inconclusive" | "Pending" => TestResult::Skipped,
        // Error, Timeout, Aborted, NotRunnable, PassedButRunAborted, Disconnected, InProgress, and unknown words.
        _ => TestResult::Error,
    }
}

/// Reads `00:01:02.3456789`, optionally with days before it.
fn span(text: &str) -> Option<Duration> {
    let (hours, rest) = text.trim().split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let [days, hours, minutes] = [days, hours, minutes].map(|number| number.parse::<u32>().ok().map(u64::from));
    let whole = days? * 86_400 + hours? * 3600 + minutes? * 60;
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?.checked_add(Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read() {
        let check = |text: &str, ms: Option<u64>| assert_eq!(span(text), ms.map(Duration::from_millis), "{text}");
        check("00:00:00.0150000", Some(15));
        check("01:02:03.5", Some(3_723_500));
        check("1.00:00:01", Some(86_401_000));
        check("00:00:1e300", None);
        check("-1:00:00", None);
        check("12", None);
        check("", None);
    }
}
