//! Any bytes as a pool file: reading, telling about them and never a panic or a hang, and a verdict that fits the findings.
#![no_main]

// The driver of the tests: a real one would bring its machines along.
#[path = "../../crates/pool-file/tests/sections/mod.rs"]
mod sections;

use kiln_document::Status;
use kiln_pool_file::amazon::Amazon;
use kiln_pool_file::{Options, load};
use libfuzzer_sys::fuzz_target;
use sections::Shed;

fuzz_target!(|bytes: &[u8]| {
    // Some variables are set, some are empty, some are not there.
    let env = |name: &str| match name.len() {
        1 => Some("2".to_owned()),
        2 => Some(String::new()),
        _ => None,
    };
    let loaded = load("fuzz.yml", bytes, &Options { env: &env, sections: &[&Shed, &Amazon] });
    drop(loaded.report.text(true));
    assert!(!loaded.report.json().is_empty(), "a report is always JSON");
    assert_eq!(loaded.is_ok(), loaded.report.status() == Status::Ok, "the verdict and the findings differ");
    match loaded.report.status() {
        Status::Ok | Status::Unsupported => assert!(loaded.config.is_some(), "no configuration, and no reason"),
        Status::Invalid => assert!(loaded.config.is_none(), "an invalid file would be carried out"),
    }
});
