//! Reads one file into a plan and findings.

use kiln_document::diagnostic::{Diagnostic, Findings, Severity};
use kiln_document::report::Report;
use kiln_document::yaml;

use crate::options::Options;
use crate::plan::{Dialect, Plan};
use crate::{dialect, drone, environment, harness};

/// What became of a file.
#[derive(Debug)]
pub struct Loaded {
    /// All findings.
    pub report: Report,
    /// The language it is written in, where that could be told.
    pub dialect: Option<Dialect>,
    /// The plan. Every file that is not invalid has one; that of an unsupported file is for display only.
    pub plan: Option<Plan>,
}

/// Reads a pipeline file. Never fails: what is wrong is in the diagnostics.
#[must_use]
pub fn load(name: &str, bytes: &[u8], options: &Options) -> Loaded {
    let mut findings = Findings::new(options.lenient);
    let mut documents = yaml::parse(bytes, &mut findings);
    let detected = dialect::detect(&documents);
    if matches!(detected, Ok(Dialect::Drone)) {
        // Drone's reader takes keys that repeat.
        findings = Findings::new(options.lenient);
        documents = yaml::parse_with(bytes, yaml::Repeats::LastCounts, &mut findings);
    }
    let readable = findings.heaviest() < Some(Severity::Invalid);
    let mut plan = None;
    let dialect = match detected {
        Ok(Dialect::Harness) => {
            plan = documents.first().and_then(|root| harness::read(root, options, &mut findings));
            Some(Dialect::Harness)
        }
        Ok(Dialect::Drone) => {
            plan = drone::read(&documents, options, &mut findings);
            Some(Dialect::Drone)
        }
        Err(unknown) => {
            // A file that stopped being YAML half-way may well be a pipeline: saying otherwise would mislead.
            if readable {
                findings.push(*unknown);
            }
            None
        }
    };
    if plan.is_none() && findings.heaviest() < Some(Severity::Unsupported) {
        // An expression in the place of the pipeline itself, for one.
        let place = documents.first().map(|document| document.location.clone()).unwrap_or_default();
        findings.push(Diagnostic::invalid("not-a-pipeline", &place, "there is no pipeline here that could be read"));
    }
    if let Some(plan) = &plan {
        environment::check(plan, &mut findings);
    }
    if findings.heaviest() == Some(Severity::Invalid) {
        plan = None;
    }
    let source = String::from_utf8_lossy(bytes).into_owned();
    Loaded { report: Report::new(name, source, findings), dialect, plan }
}
