//! Loads a file: one file in, configuration and findings out.

use kiln_document::diagnostic::{Diagnostic, Findings, Location, Severity};
use kiln_document::report::{Report, Status};
use kiln_document::yaml;
use kiln_pool::Config;

use crate::reader::Reader;
use crate::section::Section;
use crate::types::Drivers;
use crate::{file, secrets, substitute, tables};

/// Longest file that is read, in bytes. A longer one gives a finding.
pub const MAX_BYTES: usize = yaml::MAX_BYTES;

/// Settings for reading a file.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Values of environment variables, for `$NAME` and `${NAME}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Sections of the drivers that the program has. A pool of another driver is reported as unsupported.
    pub sections: &'a [&'a dyn Section],
}

/// The result of reading a file.
#[derive(Debug)]
pub struct Loaded {
    /// All findings. Secrets in the source are replaced by stars.
    pub report: Report,
    /// The configuration. Every file that is not invalid has one. That of an unsupported file is for showing only: see
    /// [`Loaded::is_ok`].
    pub config: Option<Config>,
}

impl Loaded {
    /// Returns whether the pools can be run. There may still be warnings.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.config.is_some() && self.report.status() == Status::Ok
    }
}

/// Reads a pool file. It never fails: all faults are in the findings.
#[must_use]
pub fn load(name: &str, bytes: &[u8], options: &Options<'_>) -> Loaded {
    let drivers = Drivers(options.sections);
    let incumbent: Vec<_> =
        drivers.all().flat_map(Section::incumbent_tables).chain(tables::INCUMBENT).copied().collect();
    let mut reader = Reader::new(&incumbent);
    let mut documents = yaml::parse(bytes, &mut reader.findings);
    let readable = reader.findings.heaviest() < Some(Severity::Invalid);
    let source = secrets::masked(bytes, &documents, readable);
    let config = match documents.as_mut_slice() {
        [] if readable => {
            let empty = Diagnostic::invalid("no-pools", &Location::default(), "the file is empty");
            reader.push(empty.help(drivers.example()));
            None
        }
        [] => {
            if let Some(found) = before_mistake(bytes, &reader.findings, drivers) {
                reader.findings = Findings::new(false);
                reader.push(found);
            }
            None
        }
        [root, ..] if let Some(found) = file::other_format(root, drivers) => {
            reader.push(found);
            None
        }
        [root, others @ ..] => {
            if let Some(second) = others.first() {
                let message = "the file has more than one document; only one is read";
                let help = "remove the line `---` and put all pools under one `instances`";
                reader.push(Diagnostic::invalid("several-documents", &second.location, message).help(help));
            }
            substitute::environment(root, options.env, &mut reader);
            file::read(root, drivers, &mut reader)
        }
    };
    let config = config.filter(|_| reader.findings.heaviest() < Some(Severity::Invalid));
    let mut report = Report::new(name, source, std::mem::take(&mut reader.findings));
    report.diagnostics.retain(|found| !reader.is_doubtful(found));
    Loaded { report, config }
}

/// Returns the finding for a file that is no YAML and has another format as well. The format of 2021 was documented
/// with a line `----` between its pools, which YAML does not know; the lines above it show the format.
fn before_mistake(bytes: &[u8], findings: &Findings, drivers: Drivers<'_>) -> Option<Diagnostic> {
    let at = findings.first()?.location.span.start.min(bytes.len());
    let line = bytes[..at].iter().rposition(|byte| *byte == b'\n')?;
    let documents = yaml::parse(&bytes[..line], &mut Findings::new(false));
    file::other_format(documents.first()?, drivers)
}
