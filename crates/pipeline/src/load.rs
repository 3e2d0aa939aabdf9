//! One file in, plan and findings out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnostic::{Diagnostic, Findings, Severity};
use crate::plan::{Dialect, Plan};
use crate::{dialect, drone, harness, yaml};

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Unknown keys are warnings.
    pub lenient: bool,
    /// Values for variables and `<+input>`s, by the name of a variable (`version`) or by the full path
    /// (`pipeline.stages.build.variables.version`).
    pub inputs: BTreeMap<String, String>,
}

/// What became of a file.
#[derive(Debug)]
pub struct Loaded {
    /// What the caller called the file.
    pub name: String,
    /// The file's text, for showing findings in it; not UTF-8 is replaced.
    pub source: String,
    /// The language it is written in, where that could be told.
    pub dialect: Option<Dialect>,
    /// What is to be done. There is one for every file that is not invalid; one of an unsupported file is for
    /// showing only.
    pub plan: Option<Plan>,
    /// What is to be told, in the order of the places.
    pub diagnostics: Vec<Diagnostic>,
}

/// A file's worst finding in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It can be run.
    Ok,
    /// The dialect allows it, Kiln does not run it yet.
    Unsupported,
    /// The dialect does not allow it.
    Invalid,
}

impl Status {
    /// The worst of these findings in one word.
    #[must_use]
    pub fn of(diagnostics: &[Diagnostic]) -> Status {
        match diagnostics.iter().map(|found| found.severity).max() {
            Some(Severity::Invalid) => Status::Invalid,
            Some(Severity::Unsupported) => Status::Unsupported,
            _ => Status::Ok,
        }
    }
}

impl Loaded {
    /// The worst finding in one word.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.diagnostics)
    }
}

/// Reads a pipeline file. Never fails: what is wrong is in the diagnostics.
#[must_use]
pub fn load(name: &str, bytes: &[u8], options: &Options) -> Loaded {
    let mut findings = Findings::new(options.lenient);
    let documents = yaml::parse(bytes, &mut findings);
    let readable = findings.heaviest() < Some(Severity::Invalid);
    let mut plan = None;
    let dialect = match dialect::detect(&documents) {
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
    if findings.heaviest() == Some(Severity::Invalid) {
        plan = None;
    }
    let source = String::from_utf8_lossy(bytes).into_owned();
    Loaded { name: name.to_owned(), source, dialect, plan, diagnostics: findings.into_sorted() }
}
