//! Reads `when` and `trigger`.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::Node;

use super::reader::Reader;
use crate::plan::{Condition, Match, StatusFilter, When};

/// Conditions that are globs over a fact.
const FACTS: [&str; 8] = ["branch", "event", "ref", "repo", "instance", "target", "cron", "action"];
const EVENTS: [&str; 7] = ["push", "pull_request", "tag", "promote", "rollback", "cron", "custom"];
const STATUSES: [&str; 2] = ["success", "failure"];

/// Reads the conditions under `key`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, key: &str) -> When {
    let mut when = When::default();
    let Some(conditions) = node.get(key).filter(|conditions| conditions.entries().is_some()) else { return when };
    for fact in FACTS {
        let Some(wanted) = globs(reader, conditions, fact) else { continue };
        if fact == "event" {
            events(reader, conditions);
        }
        when.conditions.push(Condition::Match(wanted));
    }
    if let Some((place, paths)) = conditions.entry("paths").filter(|(_, paths)| !paths.is_null()) {
        let patterns = globs(reader, conditions, "paths");
        if patterns.is_some_and(|paths| !paths.include.is_empty() || !paths.exclude.is_empty())
            || paths.text().is_some()
        {
            let message = "which files were changed is not looked at yet";
            let help = "Drone itself ignores `paths` unless its server has an extension for it";
            reader.push(Diagnostic::unsupported("changed-paths", &place.location, message).help(help));
        }
    }
    status(reader, conditions, &mut when);
    when
}

/// Reads the patterns of one condition: a text, a list, or `include` and `exclude`.
fn globs(reader: &mut Reader<'_>, conditions: &Node, fact: &str) -> Option<Match> {
    let value = conditions.get(fact)?;
    let owned = |texts: Vec<(&str, _)>| texts.into_iter().map(|(text, _)| text.to_owned()).collect::<Vec<_>>();
    let (include, exclude) = if value.entries().is_some() {
        (owned(reader.texts(value, "include")), owned(reader.texts(value, "exclude")))
    } else {
        (owned(reader.texts(conditions, fact)), Vec::new())
    };
    let wanted = Match { fact: fact.to_owned(), include, exclude };
    (!wanted.include.is_empty() || !wanted.exclude.is_empty()).then_some(wanted)
}

/// Returns the scalars of a condition, in whichever form it is written.
fn scalars(value: &Node) -> Vec<&Node> {
    if let Some(items) = value.items() {
        return items.iter().collect();
    }
    if value.entries().is_some() {
        return ["include", "exclude"].into_iter().filter_map(|key| value.get(key)).flat_map(scalars).collect();
    }
    vec![value]
}

/// Warns about events that no server sends: they are probably misspelt, and never match.
fn events(reader: &mut Reader<'_>, conditions: &Node) {
    for event in conditions.get("event").map(scalars).unwrap_or_default() {
        let text = event.text().unwrap_or_default();
        if !EVENTS.contains(&text) && !text.contains(['*', '?', '[', '{', '$']) {
            let mut found = Diagnostic::warning("unknown-value", &event.location, format!("`{text}` is not an event"));
            found.help = did_you_mean(text, EVENTS);
            reader.push(found);
        }
    }
}

/// Reads `status`, which is both a condition and the permission to run after a failure.
fn status(reader: &mut Reader<'_>, conditions: &Node, when: &mut When) {
    let Some(value) = conditions.get("status") else { return };
    for status in scalars(value) {
        let text = status.text().unwrap_or_default();
        if !STATUSES.contains(&text) && !text.contains(['*', '?', '[', '{']) {
            let mut found = Diagnostic::warning("unknown-value", &status.location, format!("`{text}` is not a status"));
            found.help = did_you_mean(text, STATUSES);
            reader.push(found);
        }
    }
    let Some(wanted) = globs(reader, conditions, "status") else { return };
    let allowed = |status: &str| crate::condition::matches(&wanted, status);
    when.status = match (allowed("success"), allowed("failure")) {
        (true, false) => StatusFilter::Success,
        (false, true) => StatusFilter::Failure,
        (true, true) => StatusFilter::Any,
        (false, false) => {
            // Neither: it never runs, which the plan says as a build without an event.
            let never = Match { fact: "event".to_owned(), include: Vec::new(), exclude: vec!["**".to_owned()] };
            when.conditions.push(Condition::Match(never));
            StatusFilter::Any
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Prior, Verdict, decide};
    use crate::expr::{Map, Scope};
    use crate::facts::Facts;

    /// A step whose status no build has never runs, with or without an event.
    #[test]
    fn never() {
        let mut findings = kiln_document::diagnostic::Findings::new(false);
        let nodes = kiln_document::yaml::parse(b"when: {status: [changed]}", &mut findings);
        let given = std::collections::BTreeMap::new();
        let when = read(&mut Reader::new(&mut findings, &given), &nodes[0], "when");
        for facts in [Facts::default(), Facts::default().with("event", "push")] {
            for prior in [Prior::Success, Prior::Failure] {
                let verdict = decide(&when, prior, &Scope::new(Map::new()), &facts);
                assert!(matches!(verdict, Ok(Verdict::Skip(_))), "{verdict:?}");
            }
        }
    }
}
