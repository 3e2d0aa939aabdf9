//! Finds out which language a file is written in, or what else the file is.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::yaml::Node;

use crate::plan::Dialect;

/// Top-level keys of Harness files that are not pipelines.
const HARNESS_ENTITIES: &[&str] = &[
    "template",
    "inputSet",
    "overlayInputSet",
    "service",
    "environment",
    "infrastructureDefinition",
    "trigger",
    "connector",
    "secret",
    "featureFlag",
    "filestore",
];

/// Returns the language of a file, or a finding that says what the file is instead.
pub(crate) fn detect(documents: &[Node]) -> Result<Dialect, Box<Diagnostic>> {
    let Some(first) = documents.first() else {
        return Err(Box::new(
            Diagnostic::invalid("empty-file", &Location::default(), "the file holds no pipeline, it is empty")
                .help("a Harness file starts with `pipeline:`, a Drone file with `kind: pipeline`"),
        ));
    };
    if documents.iter().any(|document| document.entries().is_none()) && documents.len() == 1 {
        if let Some(found) = without_pipeline(first) {
            return Err(Box::new(found));
        }
        let message = format!("a pipeline file is a mapping, this is {}", first.kind_name());
        return Err(Box::new(Diagnostic::invalid("not-a-pipeline", &first.location, message).help(BOTH)));
    }
    if let Some((key, _)) = documents.iter().find_map(|document| document.entry("pipeline")) {
        return match legacy(first) {
            Some(found) => Err(Box::new(found)),
            None if documents.len() > 1 => {
                let message = format!("a Harness file holds one pipeline, this one has {} documents", documents.len());
                Err(Box::new(
                    Diagnostic::invalid("several-documents", &key.location, message)
                        .help("put each pipeline into a file of its own"),
                ))
            }
            None => Ok(Dialect::Harness),
        };
    }
    if let Some(document) = documents.iter().find(|document| document.entry("kind").is_some()) {
        return match document.get("spec") {
            Some(spec) if document.get("version").is_some() || spec.get("stages").is_some() => {
                Err(Box::new(v1(document)))
            }
            _ => Ok(Dialect::Drone),
        };
    }
    let drone = ["type", "platform", "trigger", "clone", "workspace", "node", "pool", "services", "name"];
    if first.get("steps").is_some() && drone.iter().any(|key| first.get(key).is_some()) {
        return Ok(Dialect::Drone);
    }
    Err(Box::new(other(first)))
}

const BOTH: &str = "a Harness file starts with `pipeline:`, a Drone file with `kind: pipeline`";

/// Recognizes two other languages that also begin with `pipeline:`, an older and a newer one.
fn legacy(document: &Node) -> Option<Diagnostic> {
    let (key, pipeline) = document.entry("pipeline")?;
    let entries = pipeline.entries().unwrap_or_default();
    let step = |node: &Node| node.get("image").is_some() || node.get("commands").is_some();
    if !entries.is_empty() && entries.iter().all(|(_, value)| step(value)) {
        let message = "this is a pipeline of Drone 0.8, whose `pipeline:` maps names to steps";
        return Some(
            Diagnostic::unsupported("drone-0.8", &key.location, message)
                .help("`drone convert` rewrites it as `kind: pipeline`"),
        );
    }
    let stages = pipeline.get("stages").and_then(Node::items).unwrap_or_default();
    let wrapped = |stage: &Node| ["stage", "parallel", "insert"].iter().any(|key| stage.entry(key).is_some());
    let flat = |stage: &Node| ["steps", "runtime", "group"].iter().any(|key| stage.entry(key).is_some());
    let flat_stages = !stages.is_empty() && stages.iter().any(flat) && !stages.iter().any(wrapped);
    (flat_stages || pipeline.get("jobs").is_some()).then(|| v1(document))
}

fn v1(document: &Node) -> Diagnostic {
    let place =
        document.entries().and_then(|entries| entries.first()).map_or(&document.location, |(key, _)| &key.location);
    Diagnostic::unsupported("harness-v1", place, "this is a Harness pipeline of syntax version 1, Kiln reads version 0")
        .help("a version 0 file starts with `pipeline:` and wraps each stage in `- stage:`")
}

/// Recognizes a Harness pipeline whose first line, or first lines, are missing.
fn without_pipeline(document: &Node) -> Option<Diagnostic> {
    let wraps = |item: &Node| item.entry("stage").is_some() || item.entry("parallel").is_some();
    let holds_stages = |list: Option<&Node>| list.and_then(Node::items).is_some_and(|items| items.iter().any(wraps));
    let of_harness = ["identifier", "projectIdentifier", "orgIdentifier"];
    let (missing, above) = if holds_stages(Some(document)) {
        (
            "`pipeline:`, with its `name:` and `stages:`,",
            "write `pipeline:`, `  name: ...` and `  stages:` above the list",
        )
    } else if holds_stages(document.get("stages"))
        || document.get("stages").is_some() && of_harness.iter().any(|key| document.entry(key).is_some())
    {
        ("the line `pipeline:`", "write `pipeline:` above the first line")
    } else if document.get("stage").is_some_and(|stage| stage.get("spec").is_some()) {
        let above = "write `pipeline:`, `  name: ...`, `  stages:` and `  - stage:` above the stage's keys";
        ("`pipeline:`, with its `name:` and `stages:`,", above)
    } else {
        return None;
    };
    let first = document.entries().and_then(|entries| entries.first()).map(|(key, _)| key);
    let place = first.or(document.items().and_then(<[Node]>::first)).unwrap_or(document);
    let message = format!("{missing} is missing above this Harness pipeline");
    let help = format!("{above}, and indent everything below");
    Some(Diagnostic::invalid("missing-wrapper", &place.location, message).help(help))
}

fn other(document: &Node) -> Diagnostic {
    let place =
        document.entries().and_then(|entries| entries.first()).map_or(&document.location, |(key, _)| &key.location);
    if let Some(found) = without_pipeline(document) {
        return found;
    }
    if let Some((key, name)) = HARNESS_ENTITIES.iter().find_map(|name| Some((document.entry(name)?.0, name))) {
        let message = format!("this is a Harness `{name}`, not a pipeline");
        return Diagnostic::unsupported("harness-entity", &key.location, message)
            .help("Kiln runs pipelines that are written out; give it the file that starts with `pipeline:`");
    }
    let has = |key: &str| document.entry(key).is_some();
    let product = if has("jobs") && (has("on") || has("true")) {
        Some("a GitHub Actions workflow")
    } else if has("jobs") && has("version") {
        Some("a CircleCI configuration")
    } else if has("steps") || has("matrix") {
        Some("a Woodpecker workflow")
    } else if has("stages") || has("before_script") {
        Some("a GitLab CI configuration")
    } else if has("apiVersion") {
        Some("a Kubernetes manifest")
    } else {
        None
    };
    let message = match product {
        Some(product) => format!("this looks like {product}, Kiln reads Harness and Drone pipelines"),
        None => "this is neither a Harness nor a Drone pipeline".to_owned(),
    };
    let near = document.entries().unwrap_or_default().iter().find_map(|(key, _)| {
        let name = key.text()?;
        kiln_document::schema::closest(name, ["pipeline", "kind"]).map(|meant| (key, meant))
    });
    match near {
        Some((key, meant)) => {
            Diagnostic::invalid("not-a-pipeline", &key.location, message).help(format!("did you mean `{meant}`?"))
        }
        None => Diagnostic::invalid("not-a-pipeline", place, message).help(BOTH),
    }
}
