//! Adds up test cases, under limits.

use std::time::Duration;

use kiln_wire::run::{ReportProblem, RunReport, TestCase, TestResult, Tests};

/// Greatest number of kept cases that passed or were skipped. Cases beyond it are counted only.
const CASES_MAX: usize = 1000;
/// Greatest number of kept cases that failed, broke or are flaky.
const FAILURES_MAX: usize = 200;
/// Greatest size of the texts of all kept cases of either kind, in bytes.
const TEXT_MAX_BYTES: usize = 512 << 10;
/// Number of the slowest cases that are kept.
const SLOWEST_MAX: usize = 10;
/// Greatest number of kept problems.
const PROBLEMS_MAX: usize = 100;

/// Room for kept cases. Failed and flaky cases have their own, so that no number of passed ones displaces them.
struct Room {
    cases: usize,
    bytes: usize,
}

/// A sum of test cases.
pub struct Tally {
    tests: Tests,
    fine: Room,
    notable: Room,
}

impl Tally {
    /// Returns the sum of no cases.
    #[must_use]
    pub fn new() -> Self {
        let room = |cases| Room { cases, bytes: TEXT_MAX_BYTES };
        Self { tests: Tests::default(), fine: room(CASES_MAX), notable: room(FAILURES_MAX) }
    }

    /// Counts a case, and keeps it if there is room.
    pub fn push(&mut self, case: &TestCase) {
        let tests = &mut self.tests;
        tests.total += 1;
        match case.result {
            TestResult::Passed => tests.passed += 1,
            TestResult::Failed => tests.failed += 1,
            TestResult::Error => tests.errors += 1,
            TestResult::Skipped => tests.skipped += 1,
        }
        tests.flaky += u64::from(case.flaky);
        tests.duration = tests.duration.saturating_add(case.duration.unwrap_or_default());
        self.rank(case);
        self.keep(case);
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Tests) {
        let tests = &mut self.tests;
        tests.total += other.total;
        tests.passed += other.passed;
        tests.failed += other.failed;
        tests.errors += other.errors;
        tests.skipped += other.skipped;
        tests.flaky += other.flaky;
        tests.duration = tests.duration.saturating_add(other.duration);
        tests.cases_left_out += other.cases_left_out;
        other.slowest.iter().for_each(|case| self.rank(case));
        other.cases.iter().for_each(|case| self.keep(case));
        other.problems.iter().for_each(|problem| self.problem(problem.clone()));
    }

    /// Adds a fault of a report.
    pub fn problem(&mut self, problem: ReportProblem) {
        let problems = &mut self.tests.problems;
        if problems.len() < PROBLEMS_MAX {
            problems.push(problem);
        } else if problems.len() == PROBLEMS_MAX {
            let (line, message) = (None, "there are more reports with problems, which are not listed".to_owned());
            problems.push(ReportProblem { file: problem.file, line, message });
        }
    }

    fn keep(&mut self, case: &TestCase) {
        let room = if is_broken(case.result) || case.flaky { &mut self.notable } else { &mut self.fine };
        let bytes = case.class.len() + case.name.len() + case.file.len() + case.message.len();
        if room.cases == 0 || room.bytes < bytes {
            self.tests.cases_left_out += 1;
            return;
        }
        room.cases -= 1;
        room.bytes -= bytes;
        self.tests.cases.push(case.clone());
    }

    /// Adds a case to the slowest ones, if it is among them. Of equal cases the first one ranks higher.
    fn rank(&mut self, case: &TestCase) {
        let slowest = &mut self.tests.slowest;
        let Some(duration) = case.duration.filter(|duration| *duration > Duration::ZERO) else { return };
        let at = slowest.partition_point(|other| other.duration >= Some(duration));
        if at < SLOWEST_MAX {
            slowest.truncate(SLOWEST_MAX - 1);
            slowest.insert(at, TestCase { message: String::new(), ..case.clone() });
        }
    }

    /// Returns the sum.
    #[must_use]
    pub fn finish(self) -> Tests {
        self.tests
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether a case with this result counts against its step.
#[must_use]
pub fn is_broken(result: TestResult) -> bool {
    matches!(result, TestResult::Failed | TestResult::Error)
}

/// Returns the sum of the tests of all steps of a run, if any step had reports.
#[must_use]
pub fn of_run(report: &RunReport) -> Option<Tests> {
    let mut found =
        report.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.tests.as_ref()).peekable();
    found.peek()?;
    let mut tally = Tally::new();
    found.for_each(|tests| tally.add(tests));
    Some(tally.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(result: TestResult, message: &str) -> TestCase {
        TestCase {
            class: String::new(),
            name: "n".into(),
            file: String::new(),
            result,
            flaky: false,
            duration: None,
            message: message.into(),
        }
    }

    /// Adds this many cases of each kind, with texts of this many bytes, and compares the numbers of kept and omitted
    /// ones.
    #[track_caller]
    fn check(passes: usize, failures: usize, text_bytes: usize, kept: (usize, usize), left_out: u64) {
        let text = "x".repeat(text_bytes);
        let mut tally = Tally::new();
        (0..passes).for_each(|_| tally.push(&case(TestResult::Passed, &text)));
        (0..failures).for_each(|_| tally.push(&case(TestResult::Error, &text)));
        let tests = tally.finish();
        let broken = tests.cases.iter().filter(|case| is_broken(case.result)).count();
        assert_eq!((tests.cases.len() - broken, broken), kept);
        assert_eq!((tests.passed, tests.errors, tests.cases_left_out), (passes as u64, failures as u64, left_out));
        // Adding a sum to an empty one gives the same sum.
        let mut again = Tally::new();
        again.add(&tests);
        assert_eq!(again.finish(), tests);
    }

    #[test]
    fn cases_are_kept_while_there_is_room_and_counted_all_the_same() {
        check(3, 2, 0, (3, 2), 0);
        check(1001, 0, 0, (1000, 0), 1);
    }

    #[test]
    fn no_number_of_passes_leaves_out_a_failure() {
        check(5000, 200, 0, (1000, 200), 4000);
        check(1, 201, 0, (1, 200), 1);
        check(1000, 2, 10_000, (52, 2), 948);
    }

    #[test]
    fn the_texts_are_bounded_in_their_sum() {
        check(0, 200, 100_000, (0, 5), 195);
    }

    #[test]
    fn the_slowest_are_kept_in_their_order() {
        let timed = |name: &str, ms: u64| {
            let duration = Some(Duration::from_millis(ms));
            TestCase { name: name.into(), duration, ..case(TestResult::Passed, "m") }
        };
        let mut tally = Tally::new();
        for n in 0..30_u64 {
            tally.push(&timed(&format!("n{n}"), n * 7 % 30));
        }
        tally.push(&timed("equal", 29));
        tally.push(&timed("none", 0));
        let tests = tally.finish();
        let slowest: Vec<(u128, &str)> = tests
            .slowest
            .iter()
            .map(|case| (case.duration.unwrap_or_default().as_millis(), case.name.as_str()))
            .collect();
        assert_eq!(slowest[..3], [(29, "n17"), (29, "equal"), (28, "n4")]);
        assert_eq!((slowest.len(), slowest[9].0), (10, 21));
        assert_eq!(tests.duration, Duration::from_millis(435 + 29));
        assert!(tests.slowest.iter().all(|case| case.message.is_empty()));
    }

    #[test]
    fn problems_are_bounded() {
        let mut tally = Tally::new();
        for n in 0..1000 {
            tally.problem(ReportProblem { file: format!("{n}.xml"), line: Some(n), message: "m".into() });
        }
        let problems = tally.finish().problems;
        assert_eq!(problems.len(), 101);
        assert!(problems[100].message.contains("more reports"), "{:?}", problems[100]);
    }
}
