//! Builds a mapping from keys and values: carries out `<<` and keeps each key once.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use super::{Kind, Node, Repeats};
use crate::diagnostic::{Diagnostic, Findings, Location};

/// Entries of a mapping as they are in the text.
type Entries = Vec<(Node, Node)>;

/// Carries out `<<` and reports keys that occur more than once.
pub(super) fn mapping(entries: Entries, repeats: Repeats, findings: &mut Findings) -> Entries {
    let mut own = Mapping { entries: Vec::with_capacity(entries.len()), places: HashMap::new(), findings };
    let mut merges = Vec::new();
    for (key, value) in entries {
        let Kind::Scalar(name) = &key.kind else {
            let message = format!("a key is text, not {}", key.kind_name());
            own.findings.push(Diagnostic::invalid("key-not-text", &key.location, message));
            continue;
        };
        match (name.plain && name.text == "<<", repeats) {
            (true, Repeats::Refused) => merges.push(value),
            (true, Repeats::LastCounts) => own.bring(&key.location, value),
            (false, Repeats::Refused) => own.add_once(key, value),
            (false, Repeats::LastCounts) => own.set(key, value),
        }
    }
    // Of two `<<`, the later one counts; of two mappings in its list, the earlier one.
    for merge in merges.into_iter().rev() {
        for entry in sources(merge, own.findings).into_iter().flatten() {
            own.add_missing(entry);
        }
    }
    own.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// Returns the entries of each mapping that a `<<` names.
fn sources(value: Node, findings: &mut Findings) -> Vec<Entries> {
    let sources = match value.kind {
        Kind::Sequence(items) => items,
        _ => vec![value],
    };
    let mut found = Vec::with_capacity(sources.len());
    for source in sources {
        let Kind::Mapping(entries) = source.kind else {
            let message = format!("`<<` takes a mapping, not {}", source.kind_name());
            findings.push(
                Diagnostic::invalid("merge-not-mapping", &source.location, message)
                    .help("name an anchor of a mapping: `<<: *name`"),
            );
            continue;
        };
        found.push(entries);
    }
    found
}

struct Mapping<'f> {
    entries: Vec<Entry>,
    /// The index of each key in `entries`.
    places: HashMap<String, usize>,
    findings: &'f mut Findings,
}

struct Entry {
    key: Node,
    value: Node,
    /// The place of the `<<` that the value comes from.
    brought: Option<Location>,
    /// The index of each key in a value that two mappings were joined to.
    names: Option<HashMap<String, usize>>,
}

impl Mapping<'_> {
    fn find(&mut self, key: &Node) -> Option<usize> {
        self.places.get(key.text().unwrap_or_default()).copied()
    }

    fn push(&mut self, key: Node, value: Node, brought: Option<Location>) {
        self.places.insert(key.text().unwrap_or_default().to_owned(), self.entries.len());
        self.entries.push(Entry { key, value, brought, names: None });
    }

    /// Adds a key, which must not be there yet.
    fn add_once(&mut self, key: Node, value: Node) {
        let Some(first) = self.find(&key) else { return self.push(key, value, None) };
        let (name, line) = (key.text().unwrap_or_default(), self.entries[first].key.location.line);
        let message = format!("the key `{name}` occurs twice in the same mapping");
        let help = format!("the first one is in line {line}: keep one of them{}", missing_separator(name));
        self.findings.push(Diagnostic::invalid("duplicate-key", &key.location, message).help(help));
    }

    /// Adds a key from `<<`, unless it exists already.
    fn add_missing(&mut self, (key, value): (Node, Node)) {
        if self.find(&key).is_none() {
            self.push(key, value, None);
        }
    }

    /// Sets a key of the mapping's own, replacing an existing value.
    fn set(&mut self, key: Node, value: Node) {
        let Some(at) = self.find(&key) else { return self.push(key, value, None) };
        let (name, line) = (key.text().unwrap_or_default().to_owned(), key.location.line);
        let there = &mut self.entries[at];
        let first = there.key.location.line;
        let both = there.put(value);
        match there.brought.take() {
            None => {
                let message = match both {
                    Both::Joined { .. } => format!(
                        "the key `{name}` occurs twice: both mappings are used, keys in both count as in line {line}"
                    ),
                    Both::Replaced => format!("the key `{name}` occurs twice: the value in line {line} is used"),
                };
                let help = format!("the first one is in line {first}: keep one of them{}", missing_separator(&name));
                self.findings.push(Diagnostic::warning("duplicate-key", &key.location, message).help(help));
            }
            // Values from `<<` are meant to be replaced.
            Some(_) if matches!(both, Both::Joined { kept: true }) => {
                let message = format!("`{name}` also keeps what `<<` brings");
                self.findings.push(Diagnostic::note("joined-mapping", &key.location, message));
            }
            Some(_) => {}
        }
        self.entries[at].key = key;
    }

    /// Sets the keys of a `<<`, replacing existing values. Of the mappings in its list, the first one with a key
    /// counts.
    fn bring(&mut self, place: &Location, value: Node) {
        for (key, value) in sources(value, self.findings).into_iter().rev().flatten() {
            let Some(at) = self.find(&key) else {
                self.push(key, value, Some(place.clone()));
                continue;
            };
            let there = &mut self.entries[at];
            let differs = there.brought.as_ref() != Some(place) && !same_text(&there.value, &value);
            let line = there.brought.as_ref().unwrap_or(&there.key.location).line;
            let both = there.put(value);
            if differs {
                let name = key.text().unwrap_or_default();
                let message = match both {
                    Both::Replaced => format!("`{name}` is what this `<<` brings, not what stands in line {line}"),
                    Both::Joined { .. } => format!(
                        "`{name}` joins what stands in line {line} and what this `<<` brings, which counts for what is in both"
                    ),
                };
                let help = "put `<<` first, and only once: of `<<: [*one, *other]`, the first one counts";
                self.findings.push(Diagnostic::warning("duplicate-key", place, message).help(help));
            }
            there.key = key;
            there.brought = Some(place.clone());
        }
    }
}

/// The result of putting two values under one key.
enum Both {
    Replaced,
    /// They became one mapping; `kept` says whether something of the earlier one is left in it.
    Joined {
        kept: bool,
    },
}

impl Entry {
    /// Puts a value in the place of the existing one. Two mappings become one, in which the keys of the later one
    /// count. The cost depends on the size of the later one alone, because a file can have many.
    fn put(&mut self, value: Node) -> Both {
        let Kind::Mapping(there) = &mut self.value.kind else { return self.replace(value) };
        let entries = match value.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar(_) | Kind::Sequence(_) => return self.replace(value),
        };
        let names = self.names.get_or_insert_with(|| {
            there.iter().enumerate().map(|(at, (key, _))| (key.text().unwrap_or_default().to_owned(), at)).collect()
        });
        let (earlier, mut replaced) = (there.len(), 0);
        for (key, value) in entries {
            match names.entry(key.text().unwrap_or_default().to_owned()) {
                Occupied(at) => {
                    there[*at.get()] = (key, value);
                    replaced += 1;
                }
                Vacant(place) => {
                    place.insert(there.len());
                    there.push((key, value));
                }
            }
        }
        self.value.location = value.location;
        Both::Joined { kept: replaced < earlier }
    }

    fn replace(&mut self, value: Node) -> Both {
        self.value = value;
        self.names = None;
        Both::Replaced
    }
}

/// Returns whether both are the same text.
fn same_text(one: &Node, other: &Node) -> bool {
    matches!((&one.kind, &other.kind), (Kind::Scalar(one), Kind::Scalar(other)) if one.text == other.text)
}

fn missing_separator(key: &str) -> &'static str {
    if key == "kind" { "; between two documents there must be a line `---`" } else { "" }
}
