//! Builds a tree from parser events: nesting and aliases, all within the limits.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::mapping::mapping;
use super::problem::{location, syntax};
use super::scalar::{Resolved, Scalar, resolve};
use super::{Kind, MAX_ALIAS_BYTES, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, Node, Repeats};
use crate::diagnostic::{Diagnostic, Findings, Location};

/// Returns all documents that could be read.
pub(super) fn documents(text: &str, repeats: Repeats, findings: &mut Findings) -> Vec<Node> {
    let mut options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    options.set_emit_comments(false);
    let mut builder = Builder {
        findings,
        repeats,
        documents: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        alias_bytes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(syntax(&error, text)),
        };
        if let Err(problem) = outcome {
            builder.findings.push(problem);
            break;
        }
    }
    builder.documents
}

struct Builder<'a> {
    findings: &'a mut Findings,
    repeats: Repeats,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_bytes: usize,
}

/// A collection that is not closed yet.
struct Open {
    start: Location,
    anchor: usize,
    kind: OpenKind,
    height: usize,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Node, Node)>, key: Option<Node> },
}

/// A node that aliases can refer to, and the cost of a copy of it.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    height: usize,
}

type Outcome = Result<(), Diagnostic>;

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Outcome {
        let place = location(span.start, span.end);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                if self.documents.len() >= MAX_DOCUMENTS {
                    let message = format!("the file has more than {MAX_DOCUMENTS} documents");
                    return Err(Diagnostic::invalid("too-many-documents", &place, message));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.tell_lost(tag.as_deref(), &place);
                let scalar = scalar(&text, style, tag.as_deref());
                self.add(Node { kind: Kind::Scalar(scalar), location: place }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, _) => self.push(place, anchor, OpenKind::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.push(place, anchor, OpenKind::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&place),
            Event::Alias(id) => self.alias(id, place),
            _ => Ok(()),
        }
    }

    /// Warns about a tag that a text loses: YAML reads `! grep x` as `grep x`.
    fn tell_lost(&mut self, tag: Option<&Tag>, place: &Location) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix().is_none() && tag.to_string().starts_with('!')) {
            let message = format!("YAML reads `{tag}` as a tag, not as part of the text");
            self.findings.push(Diagnostic::warning("lost-tag", place, message).help("put the whole text in quotes"));
        }
    }

    fn push(&mut self, start: Location, anchor: usize, kind: OpenKind) -> Outcome {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(&start));
        }
        self.open.push(Open { start, anchor, kind, height: 1 });
        Ok(())
    }

    fn close(&mut self, end: &Location) -> Outcome {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.kind {
            OpenKind::Sequence(items) => Kind::Sequence(items),
            OpenKind::Mapping { entries, .. } => Kind::Mapping(mapping(entries, self.repeats, self.findings)),
        };
        self.add(Node { kind, location: open.start.to(end) }, open.anchor, open.height)
    }

    fn alias(&mut self, id: usize, place: Location) -> Outcome {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Diagnostic::invalid("alias-cycle", &place, "the alias is inside the value that it names")
                .help("an alias can only stand for a value that ends before it"));
        };
        if self.open.len() + anchored.height > MAX_DEPTH {
            return Err(too_deep(&place));
        }
        let (nodes, bytes, height) = (anchored.nodes, anchored.bytes, anchored.height);
        self.charge(nodes, bytes, &place)?;
        let Some(mut node) = self.anchors.get(&id).map(|anchored| anchored.node.clone()) else { return Ok(()) };
        node.location = place;
        self.add(node, 0, height)
    }

    /// Counts a copy before it is made.
    fn charge(&mut self, nodes: usize, bytes: usize, place: &Location) -> Outcome {
        self.alias_bytes += bytes;
        self.nodes += nodes;
        if self.alias_bytes <= MAX_ALIAS_BYTES && self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Diagnostic::invalid("alias-bomb", place, "the aliases of this file expand to too much")
            .help(format!("at most {MAX_NODES} values and {MAX_ALIAS_BYTES} bytes may come out of aliases")))
    }

    /// Adds a finished node to its collection or to the list of documents.
    fn add(&mut self, node: Node, anchor: usize, height: usize) -> Outcome {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values");
            return Err(Diagnostic::invalid("too-many-nodes", &node.location, message));
        }
        if anchor != 0 {
            // The copy that is kept for later counts like a used one, because anchors can be nested.
            let (nodes, bytes) = cost(&node);
            self.charge(nodes, bytes, &node.location)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes, height });
        }
        let Some(parent) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        parent.height = parent.height.max(height + 1);
        match &mut parent.kind {
            OpenKind::Sequence(items) => items.push(node),
            OpenKind::Mapping { entries, key } => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

fn too_deep(place: &Location) -> Diagnostic {
    Diagnostic::invalid("too-deep", place, format!("the nesting is deeper than {MAX_DEPTH} levels"))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Scalar {
    let plain = style == ScalarStyle::Plain;
    let resolved = match tag.and_then(Tag::core_suffix) {
        Some("str") => Resolved::Text,
        Some("null") => Resolved::Null,
        Some("bool") => Resolved::Bool,
        Some("int") => Resolved::Int,
        Some("float") => Resolved::Float,
        _ if plain => resolve(text),
        _ => Resolved::Text,
    };
    Scalar { text: text.to_owned(), resolved, plain }
}

/// Returns the number of values and the bytes of text in a tree.
fn cost(node: &Node) -> (usize, usize) {
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match &node.kind {
        Kind::Scalar(scalar) => (1, scalar.text.len()),
        Kind::Sequence(items) => items.iter().map(cost).fold((1, 0), sum),
        Kind::Mapping(entries) => entries.iter().map(|(key, value)| sum(cost(key), cost(value))).fold((1, 0), sum),
    }
}
