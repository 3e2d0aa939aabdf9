//! `kiln validate`: what is wrong with a file, without running anything.

use std::io::IsTerminal as _;
use std::path::Path;

use kiln_document::{Report, Status};
use kiln_pipeline::{Loaded, Options};

use crate::args::{Format, ValidateArgs};
use crate::exit::Exit;
use crate::print;

/// Checks every file; the worst one decides the exit code.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let options = Options { lenient: args.lenient, ..Options::default() };
    let mut all_ok = true;
    for path in &args.files {
        let loaded = load(path, &options)?;
        all_ok &= loaded.report.status() == Status::Ok;
        match args.format {
            Format::Json => print::line(loaded.report.json()),
            Format::Text => show(&loaded.report),
        }
    }
    Ok(if all_ok { Exit::Ok } else { Exit::Failed })
}

/// Reads and checks one file.
pub fn load(path: &Path, options: &Options) -> anyhow::Result<Loaded> {
    let name = path.display().to_string();
    let read = || -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        // One byte more than allowed tells the parser that there is more, and it says so with its own limit.
        std::fs::File::open(path)?.take(kiln_document::yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| crate::exit::Usage(format!("could not read {name}: {e}")))?;
    Ok(kiln_pipeline::load(&name, &bytes, options))
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
