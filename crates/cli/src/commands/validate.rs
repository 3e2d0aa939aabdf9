//! `kiln validate`: what is wrong with a file, without running anything.

use std::io::IsTerminal as _;

use kiln_document::{Report, Status};

use crate::args::{Format, ValidateArgs};
use crate::exit::Exit;
use crate::{pipeline_file, print};

/// Checks every file; the worst one decides the exit code.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut all_ok = true;
    for path in &args.files {
        let loaded = pipeline_file::load(path, &args.given)?;
        all_ok &= loaded.report.status() == Status::Ok;
        match args.format {
            Format::Json => print::line(loaded.report.json()),
            Format::Text => show(&loaded.report),
        }
    }
    Ok(if all_ok { Exit::Ok } else { Exit::Failed })
}

fn show(report: &Report) {
    let styled = std::io::stdout().is_terminal();
    let findings = report.text(styled);
    if !findings.is_empty() {
        print::line(findings);
    }
    let word = match report.status() {
        Status::Ok => "ok",
        Status::Unsupported => "unsupported",
        Status::Invalid => "invalid",
    };
    print::line(format!("{}: {word}", report.file));
}
