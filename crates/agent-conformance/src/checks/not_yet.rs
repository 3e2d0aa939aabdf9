//! What the protocol has and agents need not do yet. Nothing of it counts as passed.

use super::{Check, Work};

const PROXY: &str = "agents configure no proxy of the container engine yet";
const TESTS: &str = "agents speak to no test service yet";
const LOGS: &str = "agents send no lines to a log service yet; output is streamed and spooled";
const TOKENS: &str = "agents mint no workload tokens yet";
const PLATFORM: &str = "agents push nothing to the Harness platform yet";

const fn not_yet(section: &'static str, name: &'static str, why: &'static str) -> Check {
    Check { name, section, work: Work::NotYet(why) }
}

pub(super) const CHECKS: &[Check] = &[
    not_yet("1.1", "the_egress_policy_configures_the_container_engine", PROXY),
    not_yet("1.1", "the_certificate_for_other_services_is_stored", LOGS),
    not_yet("1.1", "memory_metrics_are_streamed_to_their_key", LOGS),
    not_yet("1.4", "a_run_test_step_selects_tests", TESTS),
    not_yet("1.4", "a_run_tests_step_with_intelligence_selects_tests", TESTS),
    not_yet("1.5", "telemetry_of_builds_and_tests_is_handed_over", TESTS),
    not_yet("1.6", "a_workload_token_is_minted_over_https_and_the_socket", TOKENS),
    not_yet("4", "errors_are_categorized_by_rules", PLATFORM),
    not_yet("4 outputs", "a_described_artifact_adds_its_count_size_and_urls", PLATFORM),
    not_yet("4 outputs", "annotations_are_posted", PLATFORM),
    not_yet("4.9", "the_result_of_a_step_of_a_stage_is_pushed", PLATFORM),
    not_yet("6", "lines_are_masked_cut_and_uploaded", LOGS),
    not_yet("7", "test_reports_are_uploaded", TESTS),
];
