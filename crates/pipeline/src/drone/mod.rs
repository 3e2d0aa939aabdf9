//! Drone's documents to a plan: one stage per `kind: pipeline`.
//!
//! ```text
//! documents ──kind──► pipeline ──tables──► shape checked ──pipeline, step──► Stage ──order──► Plan
//!              └────► secret, signature, cron, template: reported
//! ```
//! Pipelines without `depends_on` run at the same time; steps run one after another unless one of them has a
//! `depends_on`, then each starts when what it names has ended.
//!
//! `${DRONE_TAG}` and its like are replaced in commands, environments, settings, images and directories when a
//! step's turn has come. In what has to be known before the run (names, pools, conditions) they are reported.

mod conditions;
mod container;
mod environment;
mod order;
pub mod path;
mod pipeline;
mod progress;
mod reader;
mod remote;
mod schema;
mod script;
mod settings;
mod step;
mod surroundings;
mod tables;
mod versions;
mod volumes;

use kiln_document::diagnostic::{Diagnostic, Findings, Severity};
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::Node;

use crate::options::Options;
use crate::plan::{Dialect, Graph, Plan, Stage};

pub use environment::{environment, git_environment};
pub use progress::Progress;

use order::Item;
use reader::{Identifiers, Reader};
pub(crate) use schema::definition as schema;

/// The kinds of documents.
const KINDS: [&str; 5] = ["pipeline", "secret", "signature", "cron", "template"];

/// Reads the file. Returns none when it holds no pipeline.
pub(crate) fn read(documents: &[Node], options: &Options, findings: &mut Findings) -> Option<Plan> {
    let mut reader = Reader::new(findings, &options.inputs);
    let mut stages: Vec<Item<Stage>> = Vec::new();
    let mut identifiers = Identifiers::default();
    let mut other_kinds = false;
    for document in documents {
        if document.entries().is_none() {
            let message = format!("a document of a Drone file is a mapping, this is {}", document.kind_name());
            reader.push(Diagnostic::invalid("wrong-type", &document.location, message));
            continue;
        }
        match kind(&mut reader, document) {
            Kind::Pipeline => {
                let number = stages.len() + 1;
                let since = reader.mark();
                let stage = pipeline::read(&mut reader, document, &mut identifiers, number);
                reader.about(&stage.item.id, since);
                stages.push(stage);
            }
            Kind::Other => other_kinds = true,
            Kind::Nothing => {}
        }
    }
    if stages.is_empty() {
        no_pipeline(&mut reader, documents, other_kinds);
        return None;
    }
    let name = stages[0].item.name.clone();
    let id = stages[0].item.id.clone();
    let nodes = order::resolve(&mut reader, stages, "pipeline");
    let stages = Graph { nodes };
    Some(Plan { name, id, dialect: Dialect::Drone, timeout: None, variables: Vec::new(), stages })
}

/// Reports why a file cannot be run. A file of documents of other kinds alone is no mistake.
fn no_pipeline(reader: &mut Reader<'_>, documents: &[Node], other_kinds: bool) {
    if reader.heaviest() >= Some(Severity::Unsupported) {
        return;
    }
    let weigh = if other_kinds { Diagnostic::unsupported } else { Diagnostic::invalid };
    let first = documents.first().and_then(|document| document.entries()?.first());
    let place = first.map(|(key, _)| key.location.clone()).unwrap_or_default();
    let found = weigh("no-pipeline", &place, "the file has no pipeline".to_owned());
    reader.push(found.help("a pipeline starts with `kind: pipeline`"));
}

enum Kind {
    Pipeline,
    /// A document of another kind.
    Other,
    Nothing,
}

/// Returns the kind of a document, and reports everything but a pipeline.
fn kind(reader: &mut Reader<'_>, document: &Node) -> Kind {
    let Some((key, value)) = document.entry("kind").filter(|(_, value)| !value.is_null()) else {
        if document.get("steps").is_some() {
            let place = document.entries().and_then(|entries| entries.first()).map_or(document, |(key, _)| key);
            let found = Diagnostic::invalid("missing-key", &place.location, "the document has no `kind`");
            reader.push(found.help("a pipeline starts with `kind: pipeline`"));
            return Kind::Pipeline;
        }
        reader.push(Diagnostic::warning("no-effect", &document.location, "a document without `kind` says nothing"));
        return Kind::Nothing;
    };
    let place = &key.location;
    match value.text().unwrap_or_default() {
        "pipeline" => return Kind::Pipeline,
        "secret" => {
            reader.check(document, &tables::SECRET);
            let name = document.get("name").and_then(Node::text).unwrap_or("NAME");
            let message = format!("the secret `{name}` is not fetched from where this document says");
            let help = format!("give its value with `--secret {name}=VALUE` or `--secret-file`");
            reader.push(Diagnostic::note("no-effect", place, message).help(help));
        }
        "signature" => {
            reader.check(document, &tables::SIGNATURE);
            let message = "the signature is not checked: a local run trusts the file that it is given";
            reader.push(Diagnostic::note("no-effect", place, message));
        }
        "cron" => {
            reader.check(document, &tables::CRON);
            let message = "the schedule is not followed: a local run starts when it is told to";
            reader.push(Diagnostic::note("no-effect", place, message));
        }
        "template" => {
            let message = "the template is kept by a Drone server and is not in this file";
            let found = Diagnostic::unsupported("template", place, message);
            reader.push(found.help("write out the pipeline that the template makes"));
        }
        other => unknown_kind(reader, other, value),
    }
    Kind::Other
}

fn unknown_kind(reader: &mut Reader<'_>, written: &str, value: &Node) {
    let message = format!("`{written}` is not a kind of document");
    // Extensions of a Drone server may know further kinds, so that only a misspelt one is a mistake.
    let weigh = match kiln_document::schema::closest(written, KINDS) {
        Some(_) => Diagnostic::invalid,
        None => Diagnostic::unsupported,
    };
    let mut found = weigh("unknown-kind", &value.location, message);
    found.help = did_you_mean(written, KINDS);
    reader.push(found);
}
