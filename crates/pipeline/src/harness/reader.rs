//! What all readers of the dialect share: findings, templates, names, durations, conditions.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kiln_document::diagnostic::{Diagnostic, Findings, Location, Severity};
use kiln_document::duration;
use kiln_document::schema::{self, Shape, Table, truth};
use kiln_document::yaml::{Kind, Node};

use super::inputs::Open;
use super::references::Uses;
use super::tables;
use crate::expr::{self, Template};
use crate::plan::{Condition, EnvVar, Limit, Pull, StatusFilter, Variable, When};

/// Returns whether a value is or holds an expression.
pub(super) fn is_expression(node: &Node) -> bool {
    node.text().is_some_and(|text| text.contains(expr::MARKER))
}

/// Takes values out of checked mappings. A value of the wrong type was reported by the check and reads as absent.
pub(super) struct Reader<'a> {
    findings: &'a mut Findings,
    open: Open,
    /// Beginnings of the links to templates that were refused already.
    refused: HashSet<usize>,
    /// What the templates refer to, to be checked when all names are known.
    pub uses: Uses,
    /// The connector and the name of the pipeline's own repository.
    own: Option<(String, String)>,
    /// Paths that step groups of the current stage let their containers share, and where they stand.
    pub shared: Vec<(String, Location)>,
    /// What the infrastructure of the current stage says of its containers.
    pub defaults: Defaults,
}

/// What a Kubernetes infrastructure says of all containers of its stage, where a step says nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub pull: Pull,
    pub user: Option<String>,
    pub privileged: bool,
}

impl<'a> Reader<'a> {
    pub fn new(findings: &'a mut Findings, open: Open, refused: HashSet<usize>) -> Reader<'a> {
        Reader {
            findings,
            open,
            refused,
            uses: Uses::default(),
            own: None,
            shared: Vec::new(),
            defaults: Defaults::default(),
        }
    }

    /// Notes which repository is the pipeline's own.
    pub fn own_repository(&mut self, pipeline: &Node) {
        let codebase = pipeline.get("properties").and_then(|of| of.get("ci")?.get("codebase"));
        let text = |key: &str| codebase.and_then(|of| of.get(key)?.text()).unwrap_or_default().to_owned();
        self.own = codebase.map(|_| (text("connectorRef"), text("repoName")));
    }

    /// Returns whether that repository is the pipeline's own.
    pub fn is_own_repository(&self, connector: &str, name: &str) -> bool {
        self.own.as_ref().is_some_and(|own| (own.0.as_str(), own.1.as_str()) == (connector, name))
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

    /// Returns whether something was found that the dialect does not allow.
    pub fn has_refused(&self) -> bool {
        self.findings.heaviest() == Some(Severity::Invalid)
    }

    /// Checks a mapping against its table; false when it is no mapping, which is reported.
    pub fn check(&mut self, node: &Node, table: &'static Table) -> bool {
        let what = schema::with_article(table.name);
        if is_expression(node) {
            let text = shortened(node.text().unwrap_or_default());
            let message = format!("{what} has to be written out, `{text}` is only known in the run");
            self.push(Diagnostic::unsupported("expression-not-possible", &node.location, message));
        } else if node.is_null() {
            self.push(Diagnostic::invalid(
                "wrong-type",
                &node.location,
                format!("nothing stands here, {what} is wanted"),
            ));
        }
        schema::check(node, &Shape::Of(table), tables::LANGUAGE, self.findings) && node.entries().is_some()
    }

    /// Returns a template at its place. One that cannot be parsed is reported and read as literal text.
    pub fn template(&mut self, node: &Node) -> Template {
        let text = node.text().unwrap_or_default();
        let parsed = Template::parse(text, &node.location);
        self.keep(parsed, text, &node.location)
    }

    /// Returns the template of a key.
    pub fn template_at(&mut self, node: &Node, key: &str) -> Option<Template> {
        let value = node.get(key).filter(|value| value.text().is_some())?;
        Some(self.template(value))
    }

    /// Returns the template of a key that is of use only where its value is known: an `<+input>` for which nothing is given is none.
    pub fn optional(&mut self, node: &Node, key: &str) -> Option<Template> {
        self.template_at(node, key).filter(|template| !template.inputs() && !template.text().is_empty())
    }

    /// Returns the template of a key whose names are not known yet where it stands, without checking them.
    pub fn unchecked(&mut self, node: &Node, key: &str) -> Option<Template> {
        let value = node.get(key)?;
        match Template::parse(value.text()?, &value.location) {
            Ok(template) => Some(template),
            Err(problem) => {
                self.push(problem);
                None
            }
        }
    }

    /// Returns the template of a key whose whole value is one expression.
    pub fn condition(&mut self, node: &Node) -> Template {
        let text = node.text().unwrap_or_default();
        let parsed = Template::condition(text, &node.location);
        self.keep(parsed, text, &node.location)
    }

    fn keep(&mut self, parsed: Result<Template, Diagnostic>, text: &str, location: &Location) -> Template {
        match parsed {
            Ok(template) => {
                self.uses.add(&template, location);
                template
            }
            Err(problem) => {
                self.push(problem);
                Template::literal(text)
            }
        }
    }

    /// Returns the text of a key that must be known before the run; an expression there is reported.
    pub fn fixed<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        self.fixed_text(node.get(key)?, key)
    }

    /// Returns the text of a value that must be known before the run.
    pub fn fixed_text<'n>(&mut self, value: &'n Node, key: &str) -> Option<&'n str> {
        if is_expression(value) {
            let text = value.text().unwrap_or_default();
            let message = format!("`{key}` has to be known before the run, `{text}` is not");
            let help = match self.open.get(&value.location.span.start) {
                Some(path) => format!("give it with `--var {path}=VALUE`, or write it out: `{key}: ...`"),
                None => format!("write the value out: `{key}: ...`"),
            };
            self.push(Diagnostic::unsupported("expression-not-possible", &value.location, message).help(help));
            return None;
        }
        value.text().filter(|text| !text.is_empty())
    }

    /// Returns a time limit; zero is none.
    pub fn limit(&mut self, node: &Node, key: &str) -> Option<Limit> {
        /// The shortest duration that Harness accepts.
        const SHORTEST: Duration = Duration::from_secs(10);
        let text = self.fixed(node, key)?;
        let time = duration::parse(text).filter(|time| !time.is_zero())?;
        if time < SHORTEST {
            let place = node.get(key).map_or(&node.location, |value| &value.location);
            let message = format!("`{key}` is at least 10s in Harness, not `{}`", text.trim());
            self.push(Diagnostic::invalid("out-of-range", place, message).help(format!("write `{key}: 10s` or more")));
        }
        Some(Limit { time, written: text.trim().to_owned() })
    }

    /// Returns the boolean of a key.
    pub fn switch(&mut self, node: &Node, key: &str) -> Option<bool> {
        self.fixed(node, key)?;
        truth(node.get(key)?)
    }

    /// Returns identifier and name. The identifier is made from the name when there is none, as the Harness editor
    /// does.
    pub fn identity(&mut self, node: &Node, what: &str) -> (String, String) {
        let name = node.get("name").and_then(Node::text).unwrap_or_default();
        if let Some(value) = node.get("identifier") {
            let id = value.text().unwrap_or_default();
            if !is_expression(value) {
                self.identifier(id, &value.location);
            }
            let name = if name.is_empty() { id } else { name };
            return (id.to_owned(), name.to_owned());
        }
        if name.is_empty() {
            let message = format!("the {what} has neither `identifier` nor `name`");
            self.missing(node, &["name", "identifier"], &node.location, message, "give it a `name`");
            return (String::new(), String::new());
        }
        (derived(name), name.to_owned())
    }

    fn identifier(&mut self, id: &str, place: &Location) {
        /// Longest identifier, as the Harness schema has it.
        const MAX_IDENTIFIER: usize = 128;
        let first = id.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
        if first && rest && id.len() <= MAX_IDENTIFIER {
            return;
        }
        let message = format!("`{}` cannot be an identifier", shortened(id));
        let help = match derived(id) {
            made if made.is_empty() || made.len() > MAX_IDENTIFIER => {
                format!("letters, digits, `_` and `$`, not starting with a digit, at most {MAX_IDENTIFIER}")
            }
            made => format!("letters, digits, `_` and `$`, not starting with a digit: `{made}`"),
        };
        self.push(Diagnostic::invalid("bad-identifier", place, message).help(help));
    }

    /// Reports that a mapping lacks a key, unless a misspelt one of it was reported already, or it is no mapping.
    pub fn missing(&mut self, node: &Node, keys: &[&str], place: &Location, message: impl Into<String>, help: &str) {
        let Some(entries) = node.entries() else { return };
        if self.empty(node, keys, help) {
            return;
        }
        let lenient = self.findings.lenient;
        // A misspelt key that is only warned about does not say why the file cannot be run.
        let misspelt = |(key, _): &(Node, Node)| {
            !lenient
                && key
                    .text()
                    .is_some_and(|text| !keys.contains(&text) && schema::closest(text, keys.iter().copied()).is_some())
        };
        let of_wrong_type = |(key, value): &(Node, Node)| {
            key.text().is_some_and(|text| keys.contains(&text)) && !matches!(value.kind, Kind::Scalar(_))
        };
        // In lenient reading the misspelt key was only warned about, and what it was meant to say would be lost.
        let told = |entry| (!self.findings.lenient && misspelt(entry)) || of_wrong_type(entry);
        if entries.iter().any(told) {
            return;
        }
        let found = Diagnostic::invalid("missing-key", place, message);
        self.push(if help.is_empty() { found } else { found.help(help) });
    }

    /// Returns whether one of these keys is there without a value although it holds further lines, and reports it, unless the
    /// check did.
    pub fn empty(&mut self, node: &Node, keys: &[&str], help: &str) -> bool {
        /// Keys whose content stands on the lines below them.
        const HOLDERS: [&str; 11] = [
            "pipeline",
            "stages",
            "stage",
            "parallel",
            "steps",
            "step",
            "stepGroup",
            "spec",
            "execution",
            "onFailure",
            "action",
        ];
        let holders = keys.iter().filter(|key| HOLDERS.contains(key));
        let Some((key, _)) = holders.filter_map(|key| node.entry(key)).find(|(_, value)| value.is_null()) else {
            return false;
        };
        let name = key.text().unwrap_or_default();
        if !self.findings.tells("empty-key", &key.location) {
            let found = Diagnostic::invalid("missing-key", &key.location, format!("`{name}` is empty"));
            let below = format!("indent the lines below `{name}:`");
            self.push(found.help(if help.is_empty() { below } else { format!("{below}; {help}") }));
        }
        true
    }

    /// Returns whether a list's item lacks the key that says what it is, and reports it.
    pub fn unwrapped(&mut self, item: &Node, wrapper: &str, keys: &[&str]) -> bool {
        let own = ["name", "identifier", "type", "spec"];
        let bare = own.iter().any(|key| item.get(key).is_some()) && keys.iter().all(|key| item.entry(key).is_none());
        if bare {
            let place =
                item.entries().and_then(|entries| entries.first()).map_or(&item.location, |(key, _)| &key.location);
            let found =
                Diagnostic::invalid("missing-wrapper", place, format!("the {wrapper} stands without its `{wrapper}:`"));
            self.push(found.help(format!("write `- {wrapper}:` and put its keys below, two spaces deeper")));
        }
        bare
    }

    /// Returns whether the mapping is made from a template, and reports it.
    pub fn template_link(&mut self, node: &Node, what: &str) -> bool {
        let Some((key, _)) = node.entry("template").filter(|(_, link)| !link.is_null()) else { return false };
        let reference = node.get("template").and_then(|link| link.get("templateRef"));
        if reference.is_some_and(|reference| self.refused.contains(&reference.location.span.start)) {
            return true;
        }
        let link = reference.and_then(Node::text);
        let name = link.map(|link| format!(" `{link}`")).unwrap_or_default();
        let message = format!("the {what} is made from the template{name}, which is not in this repository");
        let found = Diagnostic::unsupported("template", &key.location, message);
        let help = "put the template's file below `.harness` in the repository, or write its content out in its place";
        self.push(found.help(help));
        true
    }

    /// Returns the numeric user of a key.
    pub fn user(&mut self, spec: &Node, key: &str) -> Option<String> {
        let text = self.fixed(spec, key)?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(text.to_owned());
        }
        let place = spec.get(key).map_or(&spec.location, |value| &value.location);
        let message = format!("`{key}` takes a numeric user, not `{text}`");
        let found = Diagnostic::invalid("wrong-type", place, message);
        self.push(found.help("`0` is root, `1000` is usually the first user"));
        None
    }

    /// Reads declared variables.
    pub fn variables(&mut self, node: &Node, key: &str) -> Vec<Variable> {
        let (mut read, mut seen) = (Vec::new(), HashSet::new());
        for item in node.get(key).and_then(Node::items).unwrap_or_default() {
            let Some(name) = item.get("name").and_then(Node::text).filter(|name| !name.is_empty()) else {
                self.missing(item, &["name"], &item.location, "the variable has no `name`", "");
                continue;
            };
            if !seen.insert(name) {
                let place = item.get("name").map_or(&item.location, |name| &name.location);
                self.push(Diagnostic::invalid(
                    "duplicate-name",
                    place,
                    format!("the variable `{name}` is declared twice"),
                ));
                continue;
            }
            let value = item.get("value").or_else(|| item.get("default"));
            let location = value.map_or(&item.location, |value| &value.location).clone();
            let value = value.map_or_else(|| Template::literal(""), |value| self.template(value));
            let secret = item.get("type").and_then(Node::text) == Some("Secret");
            read.push(Variable { name: name.to_owned(), value, secret, location });
        }
        read
    }

    /// Reads `NAME: value` pairs.
    pub fn env(&mut self, node: &Node, key: &str) -> Vec<EnvVar> {
        let Some(map) = node.get(key) else { return Vec::new() };
        let mut read = Vec::new();
        for (name, value) in map.entries().unwrap_or_default() {
            let text = name.text().unwrap_or_default();
            if text.is_empty() || text.contains(['=', '\0']) {
                let message = format!("`{}` cannot be the name of an environment variable", shortened(text));
                self.push(Diagnostic::invalid("bad-env-name", &name.location, message));
                continue;
            }
            let value = self.template(value);
            read.push(EnvVar { name: text.to_owned(), value });
        }
        read
    }

    /// Returns the template of a value that is no text but a list or a number. There, `<+a>.split(',')` is one expression
    /// as a whole, as in Harness; a list can also be values between commas, some of them expressions.
    pub fn whole(&mut self, node: &Node) -> Template {
        let text = node.text().unwrap_or_default();
        let parsed = Template::parse(text, &node.location).and_then(|template| {
            if template.is_one_expression() {
                return Ok(template);
            }
            match Template::condition(text, &node.location) {
                Err(_) if template.joins_words() => Ok(template),
                whole => whole,
            }
        });
        self.keep(parsed, text, &node.location)
    }

    /// Returns the template of an item of such a list: text, unless a method is called on an expression in it.
    pub fn whole_with_method(&mut self, node: &Node) -> Template {
        let text = node.text().unwrap_or_default();
        match Template::parse(text, &node.location) {
            Ok(template) if template.calls_outside() => {
                let parsed = Template::condition(text, &node.location);
                self.keep(parsed, text, &node.location)
            }
            parsed => self.keep(parsed, text, &node.location),
        }
    }

    /// Returns the templates of a list, or of a single value in its place.
    pub fn texts(&mut self, node: &Node, key: &str) -> Vec<Template> {
        match node.get(key) {
            None => Vec::new(),
            Some(list) => match list.items() {
                Some(items) => {
                    items.iter().filter(|item| item.text().is_some()).map(|item| self.template(item)).collect()
                }
                None => list.text().filter(|text| !text.is_empty()).map(|_| self.template(list)).into_iter().collect(),
            },
        }
    }

    /// Reads `when`; `status` is the name of its status key.
    pub fn when(&mut self, node: &Node, status: &str) -> When {
        let Some(when) = node.get("when") else { return When::default() };
        if when.entries().is_none() {
            let condition = self.condition(when);
            return When { status: StatusFilter::default(), conditions: vec![Condition::Expr(condition)] };
        }
        let status = match self.fixed(when, status) {
            Some("Failure") => StatusFilter::Failure,
            Some("All") => StatusFilter::Any,
            _ => StatusFilter::Success,
        };
        let condition =
            when.get("condition").filter(|condition| condition.text().is_some_and(|text| !text.trim().is_empty()));
        let conditions = condition.map(|condition| Condition::Expr(self.condition(condition))).into_iter().collect();
        When { status, conditions }
    }

    /// Reports an identifier that another item of the same list has; `seen` holds the lines of the earlier ones.
    pub fn unique(&mut self, id: &str, place: &Location, what: &str, seen: &mut HashMap<String, u32>) {
        if id.is_empty() || id.contains(expr::MARKER) {
            return;
        }
        if let Some(line) = seen.get(id) {
            let message = format!("two {what}s have the identifier `{id}`");
            let help = format!("the other one is in line {line}: expressions could not tell them apart");
            self.push(Diagnostic::invalid("duplicate-identifier", place, message).help(help));
        } else {
            seen.insert(id.to_owned(), place.line);
        }
    }
}

/// Returns the place of a mapping's identifier or name, to point at.
pub(super) fn name_place(node: &Node) -> &Location {
    let value = node.get("identifier").or_else(|| node.get("name"));
    value.map_or(&node.location, |value| &value.location)
}

/// Makes an identifier from a name: every character other than a letter, a digit or `_` becomes `_`.
fn derived(name: &str) -> String {
    let made: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    match made.chars().next() {
        Some(first) if first.is_ascii_digit() => format!("_{made}"),
        _ => made,
    }
}

/// Returns the beginning of a text, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > SHOWN || line.len() < text.len() {
        format!("{}...", line.chars().take(SHOWN).collect::<String>())
    } else {
        line.to_owned()
    }
}
