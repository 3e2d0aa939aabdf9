//! Takes values out of checked mappings: numbers, durations, names, switches.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};

use kiln_document::diagnostic::{Diagnostic, Findings, Location, Severity};
use kiln_document::duration;
use kiln_document::schema::{self, Language, Shape, Table, truth};
use kiln_document::yaml::{Kind, Node, Resolved};

use crate::spelling;

/// Longest name of a pool, variant or tenant, in characters. Names become tags of instances.
const MAX_NAME_CHARS: usize = 100;

/// Takes values out of checked mappings and collects the findings. A value of the wrong kind has already been reported
/// and reads as absent.
pub struct Reader<'a> {
    pub(crate) findings: Findings,
    /// Byte offsets of the values that come from variables.
    substituted: HashSet<usize>,
    /// Places of variables that have no value.
    unknown: Vec<Range<usize>>,
    /// All tables of the incumbent, for saying where a misplaced key belongs.
    incumbent: &'a [&'static Table],
    /// Flavors that the file may still have.
    flavors_left: usize,
}

/// The owner of a mapping's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// The incumbent, which ignores unknown keys. Unknown keys that are not close to any of ours are only warned about.
    Incumbent,
    /// Kiln.
    Kiln,
}

/// Most flavors of a file: pools, their variants, and copies of both for each tenant.
pub(crate) const MAX_FLAVORS: usize = 1000;

impl<'a> Reader<'a> {
    pub(crate) fn new(incumbent: &'a [&'static Table]) -> Self {
        Reader {
            findings: Findings::new(false),
            substituted: HashSet::new(),
            unknown: Vec::new(),
            incumbent,
            flavors_left: MAX_FLAVORS,
        }
    }

    /// Records that a value comes from a variable.
    pub(crate) fn note_substituted(&mut self, at: &Location) {
        self.substituted.insert(at.span.start);
    }

    /// Records that a value is unknown.
    pub(crate) fn note_unknown(&mut self, at: &Location) {
        self.unknown.push(at.span.clone());
    }

    /// Returns whether a finding is about something with an unknown value, and so may be wrong.
    pub(crate) fn is_doubtful(&self, found: &Diagnostic) -> bool {
        let place = &found.location.span;
        self.unknown.iter().any(|at| place != at && place.start <= at.start && at.end <= place.end)
    }

    /// Returns whether a value comes from a variable of the environment.
    #[must_use]
    pub fn is_substituted(&self, value: &Node) -> bool {
        self.substituted.contains(&value.location.span.start)
    }

    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    /// Adds an error with a suggestion.
    pub fn invalid(&mut self, code: &'static str, at: &Location, message: String, help: &str) {
        self.push(Diagnostic::invalid(code, at, message).help(help));
    }

    /// Adds a warning with a suggestion.
    pub fn warn(&mut self, code: &'static str, at: &Location, message: String, help: &str) {
        self.push(Diagnostic::warning(code, at, message).help(help));
    }

    /// Returns the mapping with its keys in the spelling of their tables, or nothing when it is no mapping. Reports all
    /// deviations from the shape.
    pub(crate) fn checked(&mut self, node: &Node, shape: &Shape, words: Words) -> Option<Node> {
        let mut node = node.clone();
        spelling::unify(&mut node, shape, &mut self.findings);
        let (ignores_unknown, tables) = match words {
            Words::Incumbent => (true, self.incumbent),
            Words::Kiln => (false, &[][..]),
        };
        let mut findings = Findings::new(false);
        schema::check(&node, shape, Language { expression_marker: None, ignores_unknown, tables }, &mut findings);
        for mut found in findings.into_sorted() {
            // Elsewhere a key without effect is common. Here somebody probably relies on it.
            if found.code == "no-effect" {
                found.severity = Severity::Warning;
            }
            self.push(found);
        }
        node.entries().is_some().then_some(node)
    }

    /// Returns a whole number within a range.
    pub(crate) fn whole(&mut self, node: &Node, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = node.get(key)?;
        let Kind::Scalar(scalar) = &value.kind else { return None };
        let Ok(number) = scalar.text.trim().parse::<i64>() else {
            // The check reports a value that is no number at all.
            let number = scalar.resolved == Resolved::Int || scalar.text.parse::<f64>().is_ok();
            if number || scalar.text.is_empty() {
                let message = format!("`{key}` takes a whole number, not `{}`", scalar.text);
                self.push(Diagnostic::invalid("wrong-type", &value.location, message));
            }
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let message = format!("`{key}` is {} to {}, not {number}", range.start(), range.end());
        self.push(Diagnostic::invalid("out-of-range", &value.location, message));
        None
    }

    /// Returns a number of instances. The incumbent treats negative ones as 0, so they are no error.
    pub(crate) fn instances(&mut self, node: &Node, key: &str) -> Option<u32> {
        let number = self.count(node, key)?;
        if let (true, Some(value)) = (number < 0, node.get(key)) {
            let message = format!("`{key}` is {number}, which counts as 0");
            self.warn("negative", &value.location, message, "write 0, or how many instances are meant");
        }
        u32::try_from(number.max(0)).ok()
    }

    /// Returns a limit of instances, or nothing when there is none. The incumbent treats 0 and less as no limit.
    pub(crate) fn limit(&mut self, node: &Node, key: &str, otherwise: &str) -> Option<u32> {
        let number = self.count(node, key)?;
        if let (true, Some(value)) = (number <= 0, node.get(key)) {
            let message = format!("`{key}` is {number}, which counts as {otherwise}");
            self.warn("no-limit", &value.location, message, "write how many instances there may be at once");
        }
        u32::try_from(number).ok().filter(|limit| *limit > 0)
    }

    fn count(&mut self, node: &Node, key: &str) -> Option<i64> {
        /// Greatest number of instances. A greater one is a slip.
        const MAX_INSTANCES: i64 = 100_000;
        let number = self.whole(node, key, i64::MIN..=i64::MAX)?;
        if let (true, Some(value)) = (number > MAX_INSTANCES, node.get(key)) {
            let message = format!("`{key}` is at most {MAX_INSTANCES} instances, not {number}");
            self.push(Diagnostic::invalid("out-of-range", &value.location, message));
            return None;
        }
        Some(number)
    }

    /// Returns a duration in seconds within a range.
    pub(crate) fn seconds(&mut self, node: &Node, key: &str, range: RangeInclusive<u64>) -> Option<u32> {
        let value = node.get(key)?;
        let text = value.text()?;
        if text.trim().is_empty() {
            let message = format!("`{key}` takes a duration such as `10m`, not an empty text");
            self.push(Diagnostic::invalid("bad-duration", &value.location, message));
            return None;
        }
        let seconds = duration::parse(text)?.as_secs();
        if range.contains(&seconds) {
            return u32::try_from(seconds).ok();
        }
        let message = format!("`{key}` is {} to {}, not `{text}`", spoken(*range.start()), spoken(*range.end()));
        self.push(Diagnostic::invalid("out-of-range", &value.location, message));
        None
    }

    /// Returns the first `most` items of a list. Reports a list that has more.
    pub(crate) fn few<'n>(&mut self, node: &'n Node, key: &str, most: usize) -> &'n [Node] {
        let items = node.get(key).and_then(Node::items).unwrap_or_default();
        let Some(first) = items.get(most) else { return items };
        let message = format!("`{key}` has {} items, the limit is {most}", items.len());
        self.push(Diagnostic::invalid("too-many-items", &first.location, message));
        &items[..most]
    }

    /// Returns the text of a key, or nothing when it is missing or empty.
    #[must_use]
    pub fn text(&self, node: &Node, key: &str) -> Option<String> {
        node.get(key).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Returns the boolean of a key.
    #[must_use]
    pub fn switch(&self, node: &Node, key: &str) -> Option<bool> {
        node.get(key).and_then(truth)
    }

    /// Returns whether a text can name a pool, a variant or a tenant. Reports its faults.
    pub(crate) fn name(&mut self, what: &str, name: &str, at: &Location) -> bool {
        let quoted: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        let (message, help) = if name.trim().is_empty() {
            (format!("the {what} is empty"), "give it one that no other has")
        } else if name.chars().count() > MAX_NAME_CHARS {
            (
                format!("the {what} has more than {MAX_NAME_CHARS} characters"),
                "names become tags of instances: shorten it",
            )
        } else if name.contains(['/', '@']) || name.chars().any(char::is_control) {
            (
                format!("the {what} `{quoted}` has a `/`, a `@` or a control character in it"),
                "pool, variant and tenant are written as `pool@tenant/variant`: use other characters",
            )
        } else {
            return true;
        };
        self.invalid("bad-name", at, message, help);
        false
    }

    /// Returns whether the file may have this many more flavors. Reports it if not.
    pub(crate) fn may_add(&mut self, flavors: usize, at: &Location) -> bool {
        match self.flavors_left.checked_sub(flavors) {
            Some(left) => {
                self.flavors_left = left;
                true
            }
            None => {
                let message = format!("the file has more than {MAX_FLAVORS} kinds of instances");
                let help = "each pool, each variant, and both once more for each tenant count: use several files";
                self.invalid("too-many-flavors", at, message, help);
                false
            }
        }
    }
}

/// Returns a duration in the form that files use.
pub(crate) fn spoken(seconds: u64) -> String {
    let (unit, name) = [(86_400, "d"), (3600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
        .unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}
