//! One file in, configuration and findings out.

use kiln_pipeline::diagnostic::{Diagnostic, Location, Severity};
use kiln_pipeline::report::{Report, findings_text};
use kiln_pipeline::{Status, yaml};
use kiln_pool::Config;

use crate::reader::Reader;
use crate::{file, secrets, substitute};

/// How a file is read.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Values of environment variables, for `$NAME` and `${NAME}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The drivers that the program has. A pool of another driver is told to be unsupported. None stands for all that this
    /// crate can read: `qemu` and `amazon`.
    pub drivers: Option<&'a [&'a str]>,
}

/// What became of a file.
#[derive(Debug)]
pub struct Loaded {
    /// What the caller called the file.
    pub name: String,
    /// The file's text, for showing findings in it; not UTF-8 is replaced, and secrets by stars.
    pub source: String,
    /// What the pools are to be. There is one for every file that is not invalid; that of an unsupported file is for showing
    /// only: see [`Loaded::is_ok`].
    pub config: Option<Config>,
    /// What is to be told, in the order of the places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// The worst finding in one word.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.diagnostics)
    }

    /// Whether the pools can be run. There may be warnings all the same.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.config.is_some() && self.status() == Status::Ok
    }

    /// All findings with their place in the file; empty when there are none. `color` adds terminal colours.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        findings_text(&self.name, &self.source, &self.diagnostics, color)
    }

    /// One line of JSON: `{"file", "status", "diagnostics": [{code, severity, message, line, column, help}]}`.
    #[must_use]
    pub fn json(&self) -> String {
        let report = Report { file: &self.name, status: self.status(), diagnostics: &self.diagnostics };
        // The types of a report cannot fail to be JSON.
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// Reads a pool file. Never fails: what is wrong is in the findings.
#[must_use]
pub fn load(name: &str, bytes: &[u8], options: &Options<'_>) -> Loaded {
    let mut reader = Reader::new(options.drivers);
    let mut documents = if bytes.len() > yaml::MAX_BYTES {
        let message = format!("the file has more than {} bytes", yaml::MAX_BYTES);
        reader.push(Diagnostic::invalid("file-too-large", &Location::default(), message));
        Vec::new()
    } else {
        yaml::parse(bytes, &mut reader.findings)
    };
    let readable = reader.findings.heaviest() < Some(Severity::Invalid);
    let source = secrets::masked(bytes, &documents, readable);
    let config = match documents.as_mut_slice() {
        [] if readable => {
            let empty = Diagnostic::invalid("no-pools", &Location::default(), "the file is empty");
            reader.push(empty.help(file::EXAMPLE));
            None
        }
        [] => None,
        [root, others @ ..] => {
            if let Some(second) = others.first() {
                let message = "the file has more than one document; only one is read";
                let help = "remove the line `---` and put all pools under one `instances`";
                reader.push(Diagnostic::invalid("several-documents", &second.location, message).help(help));
            }
            substitute::environment(root, options.env, &mut reader);
            file::read(root, &mut reader)
        }
    };
    let config = config.filter(|_| reader.findings.heaviest() < Some(Severity::Invalid));
    Loaded { name: name.to_owned(), source, config, diagnostics: reader.findings.into_sorted() }
}
