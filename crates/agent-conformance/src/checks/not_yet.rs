//! What the protocol has and agents need not do yet. Nothing of it counts as passed.

use super::{Check, Work};

const TESTS: &str = "agents speak to no test service yet";
const PLATFORM: &str = "agents push nothing to the Harness platform yet";

const fn not_yet(section: &'static str, name: &'static str, why: &'static str) -> Check {
    Check { name, section, work: Work::NotYet(why) }
}

pub(super) const CHECKS: &[Check] = &[
    not_yet("1.4", "a_run_test_step_selects_tests", TESTS),
    not_yet("1.4", "a_run_tests_step_with_intelligence_selects_tests", TESTS),
    not_yet("1.5", "telemetry_of_builds_and_tests_is_handed_over", TESTS),
    not_yet("4", "errors_are_categorized_by_rules", PLATFORM),
    not_yet("4 outputs", "a_described_artifact_adds_its_count_size_and_urls", PLATFORM),
    not_yet("4.9", "the_result_of_a_step_of_a_stage_is_pushed", PLATFORM),
    not_yet("7", "test_reports_are_uploaded", TESTS),
];
