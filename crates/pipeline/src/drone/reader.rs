//! What all readers of the dialect share: findings, templates, names.

use std::collections::{BTreeMap, HashMap};

use kiln_document::diagnostic::{Diagnostic, Findings, Location, Severity};
use kiln_document::schema::{self, Shape, Table, truth};
use kiln_document::yaml::Node;

use super::environment::{self, Name};
use super::tables;
use crate::expr::{InShell, Template};

/// Takes values out of checked mappings. A value of the wrong type was reported by the check and reads as absent.
pub(super) struct Reader<'a> {
    findings: &'a mut Findings,
    /// The caller's values, by path.
    given: &'a BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub fn new(findings: &'a mut Findings, given: &'a BTreeMap<String, String>) -> Reader<'a> {
        Reader { findings, given }
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    /// Returns a mark for [`Reader::about`].
    pub fn mark(&self) -> usize {
        self.findings.mark()
    }

    /// Says that what was found since a mark is about one stage.
    pub fn about(&mut self, stage: &str, since: usize) {
        self.findings.belong_to(stage, since);
    }

    /// Returns the heaviest finding so far.
    pub fn heaviest(&self) -> Option<Severity> {
        self.findings.heaviest()
    }

    /// Checks a mapping against its table. Returns false when it is not a mapping.
    pub fn check(&mut self, node: &Node, table: &'static Table) -> bool {
        schema::check(node, &Shape::Of(table), tables::LANGUAGE, self.findings) && node.entries().is_some()
    }

    /// Returns a template in which `${NAME}` is replaced when the step runs.
    pub fn template(&mut self, node: &Node) -> Template {
        let text = node.text().unwrap_or_default();
        match Template::substituted(text, &node.location) {
            Ok(template) => {
                self.replaced(&template, &node.location);
                template
            }
            Err(found) => {
                self.push(found);
                Template::literal(text)
            }
        }
    }

    /// Returns the template of a key.
    pub fn template_at(&mut self, node: &Node, key: &str) -> Option<Template> {
        let value = node.get(key).filter(|value| value.text().is_some_and(|text| !text.is_empty()))?;
        Some(self.template(value))
    }

    /// Warns about what is replaced otherwise than a shell would do it.
    fn replaced(&mut self, template: &Template, place: &Location) {
        for (name, in_shell) in template.unlike_shell() {
            let (sign, message) = match in_shell {
                InShell::Failure => (
                    ":?",
                    format!("`${{{name}:?...}}` fails nothing: it is the text behind it where `{name}` is empty"),
                ),
                InShell::Alternative => (
                    ":+",
                    format!("`${{{name}:+...}}` is the text behind it where `{name}` is empty, and else its value"),
                ),
            };
            let help =
                format!("Drone reads `{sign}` like `:-`; write `$${{{name}{sign}...}}` where the shell's is meant");
            self.push(Diagnostic::warning("unlike-shell", place, message).help(help));
        }
        self.emptied(template, place);
    }

    /// Warns about unknown names, which become empty text. That is seldom what was meant.
    fn emptied(&mut self, template: &Template, place: &Location) {
        for name in template.emptied() {
            if self.given.contains_key(&format!("drone.{name}")) {
                continue;
            }
            let given = format!("give it a value with `--var drone.{name}=...`");
            let (message, help) = match environment::name(name) {
                Name::Known => continue,
                Name::Step => (
                    format!("`${{{name}}}` becomes nothing: only the step's own environment has it"),
                    format!("write `$${{{name}}}` or `${name}`"),
                ),
                Name::Unknown(_) if name.contains('-') => {
                    let (before, after) = name.split_once('-').unwrap_or_default();
                    (
                        format!("`${{{name}}}` becomes nothing: for Drone a `-` is part of the name"),
                        format!("write `${{{before}:-{after}}}` for a default"),
                    )
                }
                Name::Server => (format!("`${{{name}}}` becomes nothing: only a Drone server knows it"), given),
                Name::Unknown(Some(near)) => (
                    format!("`${{{name}}}` becomes nothing: Drone has no such variable"),
                    format!("did you mean `{near}`?"),
                ),
                Name::Unknown(None) => (
                    format!("`${{{name}}}` becomes nothing before the step runs, as in Drone"),
                    format!("write `$${{{name}}}` for the step's own variable; {given} where it is one of the build"),
                ),
            };
            self.push(Diagnostic::warning("emptied-variable", place, message).help(help));
        }
    }

    /// Returns the text of a key that must be known before the run; a `${NAME}` there is reported.
    pub fn fixed<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        let value = node.get(key)?;
        self.fixed_text(value, key)
    }

    /// Returns the text of a value that must be known before the run.
    pub fn fixed_text<'n>(&mut self, value: &'n Node, key: &str) -> Option<&'n str> {
        let text = value.text().filter(|text| !text.is_empty())?;
        if text.contains("${") {
            let message = format!("`{key}` has to be known before the run, `{text}` is not");
            let found = Diagnostic::unsupported("substitution-not-possible", &value.location, message);
            self.push(found.help(format!("write the value out: `{key}: ...`")));
        }
        Some(text)
    }

    /// Returns the boolean of a key, false when it is missing.
    pub fn switch(&self, node: &Node, key: &str) -> bool {
        node.get(key).and_then(truth).unwrap_or(false)
    }

    /// Returns the texts of a list, or a single text in its place.
    pub fn texts<'n>(&mut self, node: &'n Node, key: &str) -> Vec<(&'n str, &'n Location)> {
        let Some(value) = node.get(key) else { return Vec::new() };
        let items = match value.items() {
            Some(items) => items,
            None => std::slice::from_ref(value),
        };
        items.iter().filter_map(|item| Some((self.fixed_text(item, key)?, &item.location))).collect()
    }
}

/// Makes identifiers from names, each different from all before it.
#[derive(Default)]
pub(super) struct Identifiers {
    /// How often each identifier has been asked for.
    taken: HashMap<String, usize>,
}

impl Identifiers {
    /// Returns an identifier for a name.
    pub fn make(&mut self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
        let wanted: String = if name.is_empty() { "unnamed".to_owned() } else { name.chars().map(plain).collect() };
        let mut made = wanted.clone();
        let mut number = self.taken.get(&wanted).copied().unwrap_or(0);
        while self.taken.contains_key(&made) {
            number += 1;
            made = format!("{wanted}_{}", number + 1);
        }
        self.taken.insert(wanted, number);
        self.taken.entry(made.clone()).or_default();
        made
    }
}
