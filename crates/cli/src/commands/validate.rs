//! `kiln validate`: checks a file without running anything.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use kiln_document::diagnostic::Diagnostic;
use kiln_document::{Report, Status};
use kiln_pipeline::facts::Facts;

use crate::args::{Format, ValidateArgs};
use crate::check::{self, Place};
use crate::exit::Exit;
use crate::pipeline_file::{self, Given};
use crate::{git, input, print};

/// Checks every file. The worst one decides the exit code.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    input::at_most_one(args.files.iter().chain(&args.given.inputs).map(PathBuf::as_path))?;
    let mut checker = Checker { args, given: Given::read(&args.given)?, facts: BTreeMap::new() };
    let mut worst = Exit::Ok;
    for path in &args.files {
        let (report, exit) = match checker.report(path) {
            Ok(report) if report.status() == Status::Ok => (report, Exit::Ok),
            Ok(report) => (report, Exit::Failed),
            Err(error) => (Report::unreadable(&input::name(path), &error), Exit::Usage),
        };
        worst = worst.worse(exit);
        match args.format {
            Format::Json => print::line(report.json()),
            Format::Text => show(&report),
        }
    }
    Ok(worst)
}

struct Checker<'a> {
    args: &'a ValidateArgs,
    given: Given,
    /// Facts by repository. Asking git for them takes longer than everything else.
    facts: BTreeMap<PathBuf, Facts>,
}

impl Checker<'_> {
    fn report(&mut self, path: &Path) -> std::io::Result<Report> {
        let mut loaded = pipeline_file::load(path, &self.given)?;
        if loaded.plan.is_none() {
            return Ok(loaded.report);
        }
        let (given, root) = (&self.args.given, pipeline_file::root(path));
        let facts =
            self.facts.entry(root).or_insert_with_key(|root| git::facts(root, &given.event, given.branch.as_deref()));
        let place = if self.args.runner { Place::Runner } else { Place::Here };
        check::check(&mut loaded, given, facts, place);
        if let Some(plan) = &loaded.plan {
            let missing = check::missing(plan, given, facts, &[]);
            let notes = missing.told().map(|(place, what, how)| {
                Diagnostic::note("needed", place, format!("{what}, and a run needs it")).help(how)
            });
            loaded.report.diagnostics.extend(notes);
        }
        Ok(loaded.report)
    }
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
