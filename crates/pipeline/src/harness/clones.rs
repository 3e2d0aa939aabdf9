//! Reads steps that clone a repository.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::truth;
use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::{run, step_tables};
use crate::expr::Template;
use crate::plan::{CloneFrom, GitClone, Revision, StepKind, Submodules};

/// Reads the `spec` of a `GitClone` step.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node) -> Option<StepKind> {
    let Some(spec) = step.get("spec") else {
        reader.missing(step, &["spec"], name_place(step), "the step has no `spec`", "`spec` says what it clones");
        return None;
    };
    if !reader.check(spec, &step_tables::GIT_CLONE) {
        return None;
    }
    let from = from(reader, spec);
    let is_on = |key: &str| spec.get(key).and_then(truth);
    Some(StepKind::GitClone(GitClone {
        directory: directory(reader, step, spec),
        revision: revision(reader, spec, &from),
        from,
        depth: reader.template_at(spec, "depth"),
        submodules: match reader.fixed(spec, "submoduleStrategy") {
            Some("true") => Submodules::Own,
            Some("recursive") => Submodules::All,
            _ => Submodules::None,
        },
        lfs: is_on("lfs").unwrap_or(false),
        tags: is_on("fetchTags").unwrap_or(false),
        verifies: is_on("sslVerify").unwrap_or(true),
        traces: is_on("debug").unwrap_or(false),
        sparse: reader.texts(spec, "sparseCheckout"),
        before: reader.template_at(spec, "preFetchCommand").filter(|text| !text.text().trim().is_empty()),
        process: run::process(reader, spec),
        location: name_place(step).clone(),
    }))
}

/// Returns what is cloned: the pipeline's own repository, an address, or a connector's repository, whose address the caller gives.
fn from(reader: &mut Reader<'_>, spec: &Node) -> CloneFrom {
    let name = reader.template_at(spec, "repoName");
    let connector = reader.optional(spec, "connectorRef");
    let text = |key: &str| spec.get(key).and_then(Node::text).unwrap_or_default();
    let place =
        spec.get("repoName").or_else(|| spec.get("connectorRef")).map_or(&spec.location, |value| &value.location);
    if reader.is_own_repository(text("connectorRef"), text("repoName")) {
        let message = "the working tree stands for the pipeline's own repository, whatever `build` says";
        reader.push(Diagnostic::note("working-tree", place, message));
        return CloneFrom::WorkingTree;
    }
    if let Some(url) = name.as_ref().filter(|name| is_address(name.text())) {
        return CloneFrom::Address { url: url.clone(), connector };
    }
    let url = match &connector {
        Some(connector) if connector.is_literal() => Template::connector_url(connector.text()),
        Some(_) => {
            let message =
                "`connectorRef` has to be known before the run, so that the repository's address can be given";
            reader.push(Diagnostic::unsupported("expression-not-possible", place, message));
            Template::literal("")
        }
        None => Template::connector_url("code"),
    };
    let url = match name {
        // The address of an account, with the repository's name behind it.
        Some(name) => Template::joined(vec![url, Template::literal("/"), name]),
        None => url,
    };
    CloneFrom::Address { url, connector }
}

fn is_address(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@") || text.starts_with('/')
}

/// Returns where the repository is put: by default a directory of its own name.
fn directory(reader: &mut Reader<'_>, step: &Node, spec: &Node) -> Template {
    if let Some(directory) = reader.template_at(spec, "cloneDirectory").filter(|of| !of.text().trim().is_empty()) {
        return directory;
    }
    let name = spec.get("repoName").and_then(Node::text).unwrap_or_default();
    let name = name.trim_end_matches('/').trim_end_matches(".git").rsplit(['/', ':']).next().unwrap_or_default();
    if name.is_empty() || name.contains(crate::expr::MARKER) {
        let help = "say where the repository is put: `cloneDirectory: other`";
        reader.missing(spec, &["cloneDirectory"], name_place(step), "the step has no `cloneDirectory`", help);
    }
    Template::literal(name)
}

/// Returns what is checked out.
fn revision(reader: &mut Reader<'_>, spec: &Node, from: &CloneFrom) -> Revision {
    let Some(build) = spec.get("build").filter(|_| !matches!(from, CloneFrom::WorkingTree)) else {
        return Revision::Default;
    };
    let of = build.get("spec");
    let mut value = |key: &str| of.and_then(|of| reader.template_at(of, key));
    let read = match build.get("type").and_then(Node::text) {
        Some("branch") => value("branch").map(Revision::Branch),
        Some("tag") => value("tag").map(Revision::Tag),
        Some("commitSha") => value("commitSha").map(Revision::Commit),
        Some("PR") => value("number").map(Revision::PullRequest),
        _ => None,
    };
    read.unwrap_or_else(|| {
        unknown_build(reader, &build.location);
        Revision::Default
    })
}

fn unknown_build(reader: &mut Reader<'_>, place: &Location) {
    let message = "`build` says nothing that is known before the run: the repository's default branch is taken";
    reader.push(Diagnostic::note("build", place, message));
}
