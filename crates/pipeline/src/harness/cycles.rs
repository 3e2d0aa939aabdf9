//! Finds variables whose values refer to each other in a circle, so that none of them has a value.

use std::collections::HashMap;

use kiln_document::diagnostic::{Diagnostic, Findings};

use crate::plan::{Plan, Variable};

/// A variable as expressions call it: whether it is the pipeline's, and its name.
type Key<'a> = (bool, &'a str);

/// Reports every circle once, at the first of its variables.
pub(super) fn check(plan: &Plan, findings: &mut Findings) {
    search(&plan.variables, &[], findings);
    for stage in plan.stages.nodes.iter().filter(|stage| !stage.item.variables.is_empty()) {
        search(&plan.variables, &stage.item.variables, findings);
    }
}

/// Looks for circles that begin in `stage`, or in `pipeline` when `stage` is empty.
fn search(pipeline: &[Variable], stage: &[Variable], findings: &mut Findings) {
    let of_pipeline = pipeline.iter().map(|variable| ((true, variable.name.as_str()), variable));
    let of_stage = stage.iter().map(|variable| ((false, variable.name.as_str()), variable));
    let all: HashMap<Key<'_>, &Variable> = of_pipeline.chain(of_stage).collect();
    let first = if stage.is_empty() { pipeline } else { stage };
    let mut done: HashMap<Key<'_>, bool> = HashMap::new();
    for variable in first {
        let start = (stage.is_empty(), variable.name.as_str());
        if let Some(circle) = follow(start, &all, &mut done) {
            let names: Vec<&str> = circle.iter().map(|(_, name)| *name).collect();
            let message =
                format!("the variable `{}` has no value, it refers to itself: {}", variable.name, names.join(" -> "));
            findings.push(
                Diagnostic::invalid("variable-cycle", &variable.location, message)
                    .help("give one of them a value of its own"),
            );
        }
    }
}

/// Walks from one variable to all that it refers to, without recursion, because chains can be as long as the file.
/// `done` holds the variables seen so far, with `true` for those on the current way.
fn follow<'a>(
    start: Key<'a>,
    all: &HashMap<Key<'a>, &'a Variable>,
    done: &mut HashMap<Key<'a>, bool>,
) -> Option<Vec<Key<'a>>> {
    if done.contains_key(&start) {
        return None;
    }
    let mut way: Vec<(Key<'a>, Vec<Key<'a>>)> = vec![(start, targets(start, all))];
    done.insert(start, true);
    let mut found = None;
    while let Some((at, open)) = way.last_mut() {
        match open.pop() {
            None => {
                done.insert(*at, false);
                way.pop();
            }
            Some(next) => match done.get(&next) {
                Some(false) => {}
                Some(true) => {
                    let from = way.iter().position(|(key, _)| *key == next).unwrap_or_default();
                    found.get_or_insert_with(|| way[from..].iter().map(|(key, _)| *key).chain([next]).collect());
                }
                None => {
                    done.insert(next, true);
                    way.push((next, targets(next, all)));
                }
            },
        }
    }
    found
}

/// Returns the variables that a variable's value refers to.
fn targets<'a>(at: Key<'a>, all: &HashMap<Key<'a>, &'a Variable>) -> Vec<Key<'a>> {
    let Some(variable) = all.get(&at) else { return Vec::new() };
    let paths = variable.value.references();
    let named = paths.iter().filter_map(|path| {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let (of_pipeline, name) = match segments.as_slice() {
            ["pipeline", "variables", name, ..] | ["variable", name, ..] => (true, *name),
            ["stage", "variables", name, ..] => (false, *name),
            _ => return None,
        };
        let variable: &'a Variable = all.get(&(of_pipeline, name))?;
        Some((of_pipeline, variable.name.as_str()))
    });
    named.collect()
}
