//! `kiln tests show`: shows reports.

use std::fs::File;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_test_report::show::{markdown, text};
use kiln_test_report::{Collector, Failed};

use super::files::expand;
use crate::args::tests::{ShowArgs, ShowFormat};
use crate::exit::{Exit, Usage};
use crate::print;

/// Shows the reports. Failed tests and unreadable reports decide the exit code.
pub fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let (files, without) = expand(&args.files)?;
    anyhow::ensure!(without.is_empty(), Usage(format!("no file matches {}", without.join(", "))));
    let (secrets, earlier) = (Arc::default(), Failed::default());
    let mut collector = Collector::new(&secrets, &earlier);
    for path in &files {
        match File::open(path) {
            Ok(file) => collector.report(&path.display().to_string(), file, drop),
            Err(error) => collector.problem(&path.display().to_string(), None, error.to_string()),
        }
    }
    let (tests, _) = collector.finish();
    match args.format {
        ShowFormat::Text => print::text(text(&tests)),
        ShowFormat::Markdown => print::text(markdown(&tests)),
        ShowFormat::Json => print::line(serde_json::to_string(&tests).context("the tests are no JSON")?),
    }
    let fine = tests.failed + tests.errors == 0 && tests.problems.is_empty();
    Ok(if fine { Exit::Ok } else { Exit::Failed })
}
