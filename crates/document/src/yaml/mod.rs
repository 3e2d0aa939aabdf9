//! Reads YAML text into a tree of nodes that know their place.
//!
//! This is the only module that knows the YAML library. It works on parser events instead of serde, because a finding
//! needs the place of every key and value, and because aliases have to be counted as they are expanded: a file of a few
//! hundred bytes can expand to gigabytes.
//!
//! Every limit is a constant here. A file beyond a limit gives a finding and the tree that was read so far.

mod build;
mod mapping;
mod problem;
mod scalar;
pub(crate) mod unquoted;

use crate::diagnostic::{Findings, Location};

pub use scalar::{Resolved, Scalar};

/// Longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting, counting expanded aliases.
pub const MAX_DEPTH: usize = 96;
/// Most nodes of a file, counting expanded aliases.
pub const MAX_NODES: usize = 100_000;
/// Most bytes of text in expanded aliases.
pub const MAX_ALIAS_BYTES: usize = 4 * 1024 * 1024;
/// Most documents in a file.
pub const MAX_DOCUMENTS: usize = 256;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Its place; of an alias the place of the alias, not of its anchor.
    pub location: Location,
}

/// The three kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text, number, boolean or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in file order. Each key occurs once, and merge keys have been carried out.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// Returns the scalar's text, unless the node is a collection or null.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.resolved != Resolved::Null => Some(&scalar.text),
            _ => None,
        }
    }

    /// Returns whether the value is null: nothing written, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.resolved == Resolved::Null)
    }

    /// Returns the items of a sequence.
    #[must_use]
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the entries of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the value of a key; null counts as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Returns the key's own node and its value, even when the value is null.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        let found = self.entries()?.iter().find(|(name, _)| name.text() == Some(key))?;
        Some((&found.0, &found.1))
    }

    /// Returns the value as JSON; plain numbers and booleans keep their type.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Kind::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), value.to_json()))
                .collect(),
            Kind::Scalar(scalar) => scalar.to_json(),
        }
    }

    /// Returns the kind of the value in plain words.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(scalar) => scalar.resolved.name(),
        }
    }
}

/// Treatment of a key that occurs more than once in a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// It is an error. A mapping's own keys override those from `<<`, wherever it is.
    Refused,
    /// Keys are set in the order of the text, and those from `<<` at its place. The last one counts, which is reported,
    /// and two mappings under one key are joined. Go's YAML readers do this.
    LastCounts,
}

/// Reads all documents of a file. Syntax errors go to `findings`. The documents that could be read are still returned,
/// so that findings about their content can be reported together. Empty documents are left out.
pub fn parse(bytes: &[u8], findings: &mut Findings) -> Vec<Node> {
    parse_with(bytes, Repeats::Refused, findings)
}

/// Reads all documents of a file as [`parse`] does, but treats repeated keys as `repeats` says.
pub fn parse_with(bytes: &[u8], repeats: Repeats, findings: &mut Findings) -> Vec<Node> {
    match problem::checked_text(bytes) {
        Ok(text) => build::documents(text, repeats, findings),
        Err(problem) => {
            findings.push(problem);
            Vec::new()
        }
    }
}
