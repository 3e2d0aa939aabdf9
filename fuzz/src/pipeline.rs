//! Any bytes as a pipeline file, and as its own input set and template: reading, telling about them and never a panic or a
//! hang.
#![no_main]

use kiln_document::Status;
use kiln_pipeline::{Options, Source, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let further = || vec![Source { name: "further.yml".to_owned(), bytes: bytes.to_vec() }];
    for (lenient, with_further) in [(false, false), (true, false), (false, true)] {
        let mut options = Options { lenient, ..Options::default() };
        if with_further {
            (options.input_sets, options.templates) = (further(), further());
        }
        let loaded = load("fuzz.yml", bytes, &options);
        // Every finding can be shown, to people and to programs.
        drop(loaded.report.text(true));
        assert!(!loaded.report.json().is_empty(), "a report is always JSON");
        match loaded.report.status() {
            Status::Ok => assert!(loaded.plan.is_some(), "a file without findings is not carried out"),
            Status::Invalid => assert!(loaded.plan.is_none(), "an invalid file would be carried out"),
            // Some have a plan, for showing; others are no pipelines at all.
            Status::Unsupported => {}
        }
    }
});
