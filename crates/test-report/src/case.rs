//! The output of the format readers.

use std::sync::Arc;
use std::time::Duration;

use kiln_mask::Secrets;
use kiln_wire::run::{TestCase, TestResult};

use crate::fault::{CASES_MAX, Kind};
use crate::words::{MESSAGE_MAX_CHARS, NAME_MAX_CHARS, cut};

/// Most remarks of one report that are kept.
const REMARKS_MAX: usize = 20;

/// A statement of a report outside of its cases, such as a crash of the test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub line: u64,
    pub text: String,
}

/// Receives the contents of a report.
pub(crate) struct Out<'a> {
    pub secrets: Arc<Secrets>,
    each: &'a mut dyn FnMut(TestCase),
    pub count: u64,
    pub remarks: Vec<Remark>,
}

impl<'a> Out<'a> {
    pub(crate) fn new(secrets: &Arc<Secrets>, each: &'a mut dyn FnMut(TestCase)) -> Self {
        Self { secrets: Arc::clone(secrets), each, count: 0, remarks: Vec::new() }
    }

    pub(crate) fn case(&mut self, case: TestCase) -> Result<(), Kind> {
        if self.count == CASES_MAX {
            return Err(Kind::TooManyCases);
        }
        self.count += 1;
        (self.each)(case);
        Ok(())
    }

    pub(crate) fn remark(&mut self, line: u64, text: String) {
        if self.remarks.len() < REMARKS_MAX && !text.is_empty() {
            self.remarks.push(Remark { line, text });
        }
    }

    /// Returns a name, masked and cut.
    pub(crate) fn name(&self, text: Option<String>) -> String {
        text.map(|text| cut(text, &self.secrets, NAME_MAX_CHARS)).unwrap_or_default()
    }

    /// Returns a message, masked and cut.
    pub(crate) fn message(&self, text: Option<String>) -> String {
        text.map(|text| cut(text, &self.secrets, MESSAGE_MAX_CHARS)).unwrap_or_default()
    }
}

/// Returns a case that has passed as far as is known.
pub(crate) fn passed(class: String, name: String, file: String, duration: Option<Duration>) -> TestCase {
    TestCase { class, name, file, result: TestResult::Passed, flaky: false, duration, message: String::new() }
}

/// Returns the worse of two results: a case that was skipped after a failure has failed.
pub(crate) fn worse(one: TestResult, other: TestResult) -> TestResult {
    let weight = |result: TestResult| match result {
        TestResult::Passed => 0,
        TestResult::Skipped => 1,
        TestResult::Failed => 2,
        TestResult::Error => 3,
    };
    if weight(other) > weight(one) { other } else { one }
}
