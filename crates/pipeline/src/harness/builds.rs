//! Reads steps that build container images and push them.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::{build_tables, container, run};
use crate::expr::Template;
use crate::plan::{BuildImage, Credentials, Registry, StepKind};

/// Returns the kind of registry of a step's type.
fn registry(kind: &str) -> Registry {
    match kind.strip_prefix("BuildAndPush") {
        Some("ECR") => Registry::Ecr,
        Some("GCR") => Registry::Gcr,
        Some("GAR") => Registry::Gar,
        Some("ACR") => Registry::Acr,
        _ => Registry::Docker,
    }
}

/// Reads the `spec` of a step of such a type.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    let Some(spec) = step.get("spec") else {
        reader.missing(step, &["spec"], name_place(step), "the step has no `spec`", "`spec` says what it builds");
        return None;
    };
    if !reader.check(spec, &build_tables::BUILD) {
        return None;
    }
    let registry = registry(kind);
    let repository = repository(reader, step, spec, registry)?;
    let tags = reader.texts(spec, "tags");
    if tags.is_empty() {
        reader.missing(spec, &["tags"], name_place(step), "the image has no `tags`", "give it one: `tags: [latest]`");
    }
    let (cache_from, cache_to) = cache(reader, spec);
    let mut process = run::process(reader, spec);
    if let Some(user) = process.user.take().filter(|user| user != "0") {
        let place = spec.get("runAsUser").map_or(&spec.location, |value| &value.location);
        let message =
            format!("`runAsUser: {user}` has no effect here: `docker` builds the image as the machine's root");
        reader.push(Diagnostic::note("no-effect", place, message));
    }
    Some(StepKind::BuildImage(BuildImage {
        repository,
        tags,
        dockerfile: reader.template_at(spec, "dockerfile"),
        context: reader.template_at(spec, "context"),
        labels: pairs(reader, spec, "labels"),
        build_args: pairs(reader, spec, "buildArgs"),
        target: reader.template_at(spec, "target"),
        cache_from,
        cache_to,
        credentials: credentials(reader, spec, registry),
        registry,
        process,
        location: name_place(step).clone(),
    }))
}

/// Returns the image with its registry: a `repo`, or what the vendors' registries put together.
fn repository(reader: &mut Reader<'_>, step: &Node, spec: &Node, registry: Registry) -> Option<Vec<Template>> {
    let keys: &[&str] = match registry {
        Registry::Docker => &["repo"],
        Registry::Acr => &["repository"],
        Registry::Ecr => &["account", "region", "imageName"],
        Registry::Gcr | Registry::Gar => &["host", "projectID", "imageName"],
    };
    let mut parts = Vec::new();
    for key in keys {
        let Some(part) = reader.template_at(spec, key) else {
            let message = format!("the image has no `{key}`");
            reader.missing(spec, &[key], name_place(step), message, "it is a part of the image's name");
            return None;
        };
        parts.push(part);
    }
    if registry != Registry::Ecr {
        return Some(parts);
    }
    let [account, region, image] = <[Template; 3]>::try_from(parts).ok()?;
    let text = |text: &str| Template::literal(text);
    Some(vec![Template::joined(vec![account, text(".dkr.ecr."), region, text(".amazonaws.com")]), image])
}

/// Returns whose credentials the registry is asked with. What a vendor's own identity would be asked for is said.
fn credentials(reader: &mut Reader<'_>, spec: &Node, registry: Registry) -> Credentials {
    let what = match registry {
        Registry::Docker => "the image is pushed",
        Registry::Ecr => "the image is pushed, `username` being `AWS`,",
        Registry::Gcr | Registry::Gar => "the image is pushed, `username` being `_json_key` or `oauth2accesstoken`,",
        Registry::Acr => "the image is pushed, `username` being a service principal's,",
    };
    container::credentials(reader, spec, what)
}

fn pairs(reader: &mut Reader<'_>, spec: &Node, key: &str) -> Vec<(String, Template)> {
    let entries = spec.get(key).and_then(Node::entries).unwrap_or_default();
    entries.iter().map(|(name, value)| (name.text().unwrap_or_default().to_owned(), reader.template(value))).collect()
}

/// Reads where layers come from and where they are kept. An image that holds layers is named without BuildKit's words.
fn cache(reader: &mut Reader<'_>, spec: &Node) -> (Vec<Template>, Vec<Template>) {
    let (mut from, mut to) = (reader.texts(spec, "cacheFrom"), reader.texts(spec, "cacheTo"));
    for key in ["remoteCacheRepo", "remoteCacheImage"] {
        if let Some(repository) = reader.template_at(spec, key).filter(|value| !value.text().is_empty()) {
            let with = |words: &str, end: &str| {
                Template::joined(vec![Template::literal(words), repository.clone(), Template::literal(end)])
            };
            from.push(with("type=registry,ref=", ""));
            to.push(with("type=registry,ref=", ",mode=max"));
        }
    }
    (from, to)
}
