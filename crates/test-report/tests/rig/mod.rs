//! Reads one report and shows it as text.
#![allow(dead_code)] // no test needs all of it

use std::sync::Arc;

use kiln_mask::Secrets;
use kiln_test_report::tally::is_broken;
use kiln_test_report::{Collector, Failed};
use kiln_wire::run::Tests;

pub fn read(report: &[u8]) -> Tests {
    read_with(report, &Arc::default())
}

pub fn read_with(report: &[u8], secrets: &Arc<Secrets>) -> Tests {
    let earlier = Failed::default();
    let mut collector = Collector::new(secrets, &earlier);
    let mut cases = Vec::new();
    collector.report("x.xml", report, |case| cases.push(case));
    let tests = collector.finish().0;
    assert_eq!(tests.total, cases.len() as u64, "a case was counted and not handed on");
    assert!(tests.cases.iter().all(|case| cases.contains(case)));
    tests
}

/// Returns the counts, the failed cases, and the problems of the report.
pub fn shown(tests: &Tests) -> String {
    let Tests { total, passed, failed, errors, skipped, cases, problems, .. } = tests;
    let mut text = format!("{total} = {passed}+{failed}+{errors}+{skipped}");
    for case in cases.iter().filter(|case| is_broken(case.result)) {
        text.push_str(&format!("\n{}|{}|{}", case.class, case.name, case.message));
    }
    for problem in problems {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        text.push_str(&format!("\n! {}{line}: {}", problem.file, problem.message));
    }
    text
}

#[track_caller]
pub fn check(report: &str, expect: &str) {
    assert_eq!(shown(&read(report.as_bytes())), expect, "{report}");
}
