//! Adds up the reports of a step.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read;
use std::sync::Arc;

use kiln_mask::Secrets;
use kiln_wire::run::{ReportProblem, TestCase, TestResult, Tests};

use crate::case::Out;
use crate::fault::Fault;
use crate::read::read;
use crate::tally::{Tally, is_broken};
use crate::words::{NAME_MAX_CHARS, cut};

/// Greatest number of reports of one step.
const REPORTS_MAX: usize = 10_000;
/// Most failed cases that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The cases that failed in earlier attempts, limited in number.
#[derive(Debug, Clone, Default)]
pub struct Failed(HashSet<u64>);

impl Failed {
    fn add(&mut self, key: u64) {
        if self.0.len() < REMEMBERED_MAX {
            self.0.insert(key);
        }
    }

    /// Adds the failed cases of another attempt.
    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|key| self.add(*key));
    }
}

/// Collects reports one by one.
pub struct Collector<'a> {
    secrets: &'a Arc<Secrets>,
    earlier: &'a Failed,
    failed: Failed,
    tally: Tally,
    reports: usize,
}

impl<'a> Collector<'a> {
    /// Creates a collector that masks these secrets. A case that passes and is among the `earlier` failed ones is
    /// flaky.
    pub fn new(secrets: &'a Arc<Secrets>, earlier: &'a Failed) -> Self {
        Self { secrets, earlier, failed: Failed::default(), tally: Tally::new(), reports: 0 }
    }

    /// Reads a report, passes on its cases one by one, and records its faults.
    pub fn report(&mut self, file: &str, input: impl Read, mut each: impl FnMut(TestCase)) {
        self.reports += 1;
        if self.reports > REPORTS_MAX {
            if self.reports == REPORTS_MAX + 1 {
                self.problem(
                    file,
                    None,
                    format!("there are more than {REPORTS_MAX} reports; this one and those after it are not read"),
                );
            }
            return;
        }
        let (tally, earlier, failed) = (&mut self.tally, self.earlier, &mut self.failed);
        // Tools that repeat a failed case write it into the same report again.
        let mut here = Failed::default();
        let mut take = |mut case: TestCase| {
            let key = key(&case);
            if is_broken(case.result) {
                here.add(key);
                failed.add(key);
            }
            let failed_before = || here.0.contains(&key) || earlier.0.contains(&key);
            case.flaky |= case.result == TestResult::Passed && failed_before();
            tally.push(&case);
            each(case);
        };
        let mut out = Out::new(self.secrets, &mut take);
        let read = read(input, &mut out);
        let Out { count, remarks, .. } = out;
        for remark in remarks {
            self.problem(file, Some(remark.line), remark.text);
        }
        if let Err(fault) = read {
            self.fault(file, &fault, count);
        }
    }

    /// Records a fault of a report.
    pub fn problem(&mut self, file: &str, line: Option<u64>, message: String) {
        let file = cut(file.to_owned(), self.secrets, NAME_MAX_CHARS);
        self.tally.problem(ReportProblem { file, line, message });
    }

    fn fault(&mut self, file: &str, fault: &Fault, count: u64) {
        let mut message = fault.message(|text| self.secrets.mask(text).into_inner());
        match count {
            0 => {}
            1 => message.push_str("; the test before that is counted"),
            more => message.push_str(&format!("; the {more} tests before that are counted")),
        }
        self.problem(file, fault.line, message);
    }

    /// Returns the number of reports.
    #[must_use]
    pub fn reports(&self) -> usize {
        self.reports
    }

    /// Returns the sum and the failed cases.
    #[must_use]
    pub fn finish(self) -> (Tests, Failed) {
        (self.tally.finish(), self.failed)
    }
}

/// Returns a key that is the same for every attempt at a case.
fn key(case: &TestCase) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&case.class, &case.name, &case.file).hash(&mut hasher);
    hasher.finish()
}
