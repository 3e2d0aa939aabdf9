//! Any bytes as a test report: never a panic or a hang, the counts hold together, a secret is in nothing that comes out, and what
//! people see of a name is one line.
#![no_main]

use std::sync::Arc;

use kiln_mask::Secrets;
use kiln_test_report::show::{markdown, text};
use kiln_test_report::{Collector, Failed};
use kiln_wire::run::{TestCase, TestResult};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "s3<&t";

fuzz_target!(|bytes: &[u8]| {
    let secrets = Arc::<Secrets>::default();
    secrets.add([SECRET]);
    let earlier = Failed::default();
    let mut collector = Collector::new(&secrets, &earlier);
    let mut cases: Vec<TestCase> = Vec::new();
    collector.report("a.xml", bytes, |case| cases.push(case));
    collector.report("b.xml", bytes, |case| cases.push(case));
    let (tests, _) = collector.finish();

    let count = |result| cases.iter().filter(|case| case.result == result).count() as u64;
    assert_eq!(tests.total, cases.len() as u64, "a case is lost");
    assert_eq!(tests.passed, count(TestResult::Passed));
    assert_eq!(tests.failed, count(TestResult::Failed));
    assert_eq!(tests.errors, count(TestResult::Error));
    assert_eq!(tests.skipped, count(TestResult::Skipped));
    assert!(tests.flaky <= tests.passed, "only what passed is flaky");
    assert_eq!(tests.cases_left_out + tests.cases.len() as u64, tests.total);

    for case in &cases {
        let longest = case.name.chars().count().max(case.class.chars().count()).max(case.file.chars().count());
        assert!(longest <= 501 && case.message.chars().count() <= 2001, "a text is not bounded");
    }
    let told = format!("{cases:?}{tests:?}");
    assert!(!told.contains(SECRET), "a secret is told");

    let shown = text(&tests);
    let seen =
        shown.replace("\u{1b}[31m", "").replace("\u{1b}[33m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert!(seen.chars().all(|c| c == '\n' || !c.is_control()), "a terminal would obey a report");
    assert!(seen.lines().all(|line| line.starts_with("  ")), "a report makes a line of its own");
    assert!(markdown(&tests).len() < 1 << 20, "the Markdown is not bounded");
});
