//! Reads `caching` of a stage: Cache Intelligence.

use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::Node;

use super::reader::Reader;
use crate::plan::StageCache;

use Shape::{Bool, Enum, OneOrMore, Text};

/// `caching`
pub static CACHING: Table = Table::closed(
    "`caching`",
    &[
        Key::read("enabled", Bool, "Whether the stage has a cache."),
        Key::read("key", Text, "Name by which it is kept; made from what the sources hold when absent."),
        Key::read("paths", OneOrMore(&Text), "What is kept; what the sources' build tools keep when absent.")
            .or_expression(),
        Key::read("policy", Enum(&["pull-push", "pull", "push"]), "Whether it is restored, saved, or both."),
        Key::read("override", Bool, "Whether what is kept under that key already is replaced."),
    ],
);

/// Reads the cache of a stage, by the stage's `spec`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Node) -> Option<StageCache> {
    let caching = spec.get("caching").filter(|caching| caching.entries().is_some())?;
    if !reader.switch(caching, "enabled").unwrap_or(false) {
        return None;
    }
    let (pulls, pushes) = match reader.fixed(caching, "policy") {
        Some("pull") => (true, false),
        Some("push") => (false, true),
        _ => (true, true),
    };
    Some(StageCache {
        key: reader.optional(caching, "key"),
        paths: reader.texts(caching, "paths"),
        pulls,
        pushes,
        replaces: reader.switch(caching, "override").unwrap_or(false),
        location: caching.location.clone(),
    })
}
