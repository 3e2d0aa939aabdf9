//! Any bytes as a pipeline file: reading, telling about them and never a panic or a hang.
#![no_main]

use kiln_pipeline::{Options, Severity, load, report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for lenient in [false, true] {
        let options = Options { lenient, ..Options::default() };
        let loaded = load("fuzz.yml", bytes, &options);
        // Every finding can be shown, to people and to programs.
        report::text(&loaded, true);
        report::json(&loaded).expect("a report is always JSON");
        // A file that is invalid is not carried out, and one that is not carried out says why.
        let invalid = loaded.diagnostics.iter().any(|found| found.severity == Severity::Invalid);
        assert_eq!(loaded.plan.is_none(), invalid, "plan without findings, or findings without an end");
    }
});
