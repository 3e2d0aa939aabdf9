//! Templates that lie in the same repository: their content takes the place of the link to them.
//!
//! ```text
//! stage {name, template: {templateRef, templateInputs}} ──► stage {name} + the template's `spec` with the inputs filled
//! ```
//! A node of a template gets a span beyond those of the pipeline's file, so that each place is still one place. Findings
//! there are told at the link, with the template's file and line: [`Expansion::revise`].

use std::collections::HashSet;

use kiln_document::diagnostic::{Diagnostic, Findings, Location};
use kiln_document::yaml::{self, Kind, MAX_BYTES, MAX_NODES, Node};

use super::{input_sets, inputs};
use crate::expr;
use crate::options::Source;

/// Most links that are followed in a file, those in templates included.
pub const MAX_LINKS: usize = 500;
/// Most templates within each other.
pub const MAX_DEPTH: usize = 8;

/// A template of the repository.
struct Template<'s> {
    source: &'s Source,
    id: String,
    version: String,
    kind: String,
    /// What takes the link's place.
    spec: Node,
}

/// What templates are for. The words are those of the key that holds the link, and of a template's `type`.
const KINDS: [(&str, &str); 4] =
    [("pipeline", "Pipeline"), ("stage", "Stage"), ("step", "Step"), ("stepGroup", "StepGroup")];

/// Where the nodes of one use of a template come from.
struct Origin<'s> {
    /// First byte of its spans.
    base: usize,
    source: &'s Source,
    /// The link.
    link: Location,
}

/// The templates of a repository, and their uses so far.
pub(super) struct Expansion<'s> {
    templates: Vec<Template<'s>>,
    origins: Vec<Origin<'s>>,
    next_base: usize,
    nodes: usize,
    /// Spans' beginnings of the links that were refused with a reason.
    pub refused: HashSet<usize>,
}

impl<'s> Expansion<'s> {
    /// Reads the files that hold templates.
    pub fn read(sources: &'s [Source], findings: &mut Findings) -> Expansion<'s> {
        let mut templates = Vec::new();
        for source in sources {
            let mut own = Findings::new(false);
            let documents = yaml::parse(&source.bytes, &mut own);
            let before = templates.len();
            templates.extend(documents.iter().filter_map(|document| template(source, document)));
            // A broken file that is no template is none of this pipeline's business.
            if templates.len() > before {
                own.into_sorted()
                    .into_iter()
                    .for_each(|found| findings.push(input_sets::elsewhere(&source.name, found)));
            }
        }
        Expansion { templates, origins: Vec::new(), next_base: 2 * MAX_BYTES, nodes: 0, refused: HashSet::new() }
    }

    /// Puts the content of templates in the place of the links to them. A link to a template that is not here stays.
    pub fn expand(&mut self, root: &mut Node, findings: &mut Findings) {
        if !self.templates.is_empty() {
            self.walk(root, 0, findings);
        }
    }

    fn walk(&mut self, node: &mut Node, depth: usize, findings: &mut Findings) {
        match &mut node.kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.walk(item, depth, findings)),
            Kind::Mapping(entries) => {
                for (key, value) in entries {
                    let kind = KINDS.into_iter().find(|(name, _)| key.text() == Some(name));
                    let inside = kind.is_some_and(|(_, kind)| self.follow(value, kind, depth, findings));
                    self.walk(value, depth + usize::from(inside), findings);
                }
            }
        }
    }

    /// Follows the link in a mapping. Returns whether there was one that could be followed.
    fn follow(&mut self, node: &mut Node, kind: &str, depth: usize, findings: &mut Findings) -> bool {
        let Some(reference) = node.get("template").and_then(|link| link.get("templateRef")) else { return false };
        let place = reference.location.clone();
        let found = match self.find(node, kind) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(reason) => {
                self.refused.insert(place.span.start);
                findings.push(*reason);
                return false;
            }
        };
        if depth >= MAX_DEPTH || self.origins.len() >= MAX_LINKS || self.nodes > MAX_NODES {
            let message = format!(
                "templates stand within each other more than {MAX_DEPTH} deep, in more than {MAX_LINKS} places, or with \
                 more than {MAX_NODES} values"
            );
            self.refused.insert(place.span.start);
            findings.push(Diagnostic::invalid("template-limit", &place, message));
            return false;
        }
        let template = &self.templates[found];
        let (source, mut content) = (template.source, template.spec.clone());
        let base = self.next_base;
        self.next_base += MAX_BYTES + 1;
        self.origins.push(Origin { base, source, link: place.clone() });
        self.nodes += moved(&mut content, base, &place);
        if let Some(given) = node.get("template").and_then(|link| link.get("templateInputs")) {
            inputs::fill_template(&mut content, given, findings);
        }
        let (Kind::Mapping(own), Kind::Mapping(content)) = (&mut node.kind, content.kind) else { return false };
        own.retain(|(key, _)| key.text() != Some("template"));
        for (key, value) in content {
            if own.iter().all(|(name, _)| name.text() != key.text()) {
                own.push((key, value));
            }
        }
        true
    }

    /// Returns the template that a mapping links to, none when no file has it.
    ///
    /// # Errors
    /// What speaks against the one that is here.
    fn find(&self, node: &Node, kind: &str) -> Result<Option<usize>, Box<Diagnostic>> {
        let link = node.get("template");
        let Some((link, reference)) = link.and_then(|link| Some((link, link.get("templateRef")?))) else {
            return Ok(None);
        };
        let text = reference.text().filter(|text| !text.contains(expr::MARKER)).unwrap_or_default();
        let id = text.strip_prefix("account.").or_else(|| text.strip_prefix("org.")).unwrap_or(text);
        let known: Vec<usize> = (0..self.templates.len()).filter(|at| self.templates[*at].id == id).collect();
        let Some(first) = known.first() else { return Ok(None) };
        let wanted = link.get("versionLabel").and_then(Node::text).map(str::trim).filter(|label| !label.is_empty());
        let names = known.iter().map(|at| format!("`{}`", self.templates[*at].version)).collect::<Vec<_>>().join(", ");
        let refused = |message: String, help: &str| {
            Err(Box::new(Diagnostic::unsupported("template-version", &reference.location, message).help(help)))
        };
        let chosen = match wanted {
            None if known.len() == 1 => *first,
            None => {
                let message = format!("the template `{id}` is here in several versions: {names}");
                return refused(message, "say which one with `versionLabel`");
            }
            Some(label) => match known.iter().find(|at| self.templates[**at].version == label) {
                Some(chosen) => *chosen,
                None => {
                    let message = format!("the template `{id}` is here as {names}, not as `{label}`");
                    return refused(message, "the version has to be in this repository");
                }
            },
        };
        let own = &self.templates[chosen].kind;
        if own != kind {
            let message = format!("the template `{id}` is for a {own}, not for a {kind}");
            return Err(Box::new(Diagnostic::invalid("template-kind", &reference.location, message)));
        }
        Ok(Some(chosen))
    }

    /// Moves findings about the content of a template to the link, and names the template's file and line.
    pub fn revise(&self, findings: &mut Findings) {
        findings.revise(|found| {
            // A template in a template: from the inner link to the outer one.
            for _ in 0..=MAX_DEPTH {
                let at = found.location.span.start;
                let index = self.origins.partition_point(|origin| origin.base <= at);
                let Some(origin) = index.checked_sub(1).map(|index| &self.origins[index]) else { return };
                let bytes = origin.source.bytes.get(..at - origin.base).unwrap_or(&origin.source.bytes);
                let line = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
                found.message = format!("{} (`{}`, line {line})", found.message, origin.source.name);
                found.location = origin.link.clone();
            }
        });
    }
}

/// Reads one document of a file, when it is a template.
fn template<'s>(source: &'s Source, document: &Node) -> Option<Template<'s>> {
    let template = document.get("template")?;
    let text = |key: &str| template.get(key).and_then(Node::text).map(str::trim);
    Some(Template {
        source,
        id: text("identifier")?.to_owned(),
        version: text("versionLabel").unwrap_or_default().to_owned(),
        kind: text("type")?.to_owned(),
        spec: template.get("spec").filter(|spec| spec.entries().is_some())?.clone(),
    })
}

/// Moves the spans of a tree behind `base`, and gives its nodes the line of `link`. Returns the number of nodes.
fn moved(node: &mut Node, base: usize, link: &Location) -> usize {
    let span = &node.location.span;
    let span = base + span.start.min(MAX_BYTES)..base + span.end.min(MAX_BYTES);
    node.location = Location { line: link.line, column: link.column, span };
    match &mut node.kind {
        Kind::Scalar(_) => 1,
        Kind::Sequence(items) => 1 + items.iter_mut().map(|item| moved(item, base, link)).sum::<usize>(),
        Kind::Mapping(entries) => {
            let of = |(key, value): &mut (Node, Node)| moved(key, base, link) + moved(value, base, link);
            1 + entries.iter_mut().map(of).sum::<usize>()
        }
    }
}
