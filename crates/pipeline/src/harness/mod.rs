//! Reads Harness CI version 0 into a plan.
//!
//! ```text
//! tree ──inputs, templates──► tree with all values ──tables──► shape checked ──stage, step──► Plan ──references──►
//! ```
//! What the platform would do around the run (delegates, notifications, policies) gets a note. What changes the result
//! and is not carried out is reported as unsupported, at its own place.

mod build_tables;
mod builds;
mod caching;
mod clones;
mod container;
mod cycles;
mod failure;
mod infrastructure;
mod input_sets;
mod inputs;
mod kinds;
mod reader;
mod references;
mod run;
mod schema;
mod services;
mod settings;
mod stage;
mod step_tables;
mod steps;
mod store_tables;
mod stores;
mod strategy;
mod tables;
mod templates;
mod test_steps;
mod volumes;
mod words;

use inputs::Inputs;
use kiln_document::diagnostic::{Diagnostic, Findings};
use kiln_document::yaml::Node;
use reader::Reader;
use references::Uses;
use templates::Expansion;

use crate::options::Options;
use crate::plan::{Dialect, Plan};

pub use failure::MAX_RETRIES;
pub(crate) use schema::definition as schema;
pub use templates::{MAX_DEPTH as MAX_TEMPLATES, MAX_LINKS};

/// Most stages of a pipeline, and most steps of a list. Each of several items that run at the same time names all items
/// before them, so the number of edges grows with the square.
pub const MAX_ITEMS: usize = 1000;

/// Reads the file. Returns none when it holds nothing to plan.
pub(crate) fn read(root: &Node, options: &Options, findings: &mut Findings) -> Option<Plan> {
    let mut root = root.clone();
    let sets = input_sets::read(&options.input_sets, findings);
    let mut inputs = Inputs::new(&options.inputs, &sets);
    // Before the templates, for what is handed on to them, and after, for what they ask for.
    inputs.fill(&mut root, findings);
    let mut templates = Expansion::read(&options.templates, findings);
    templates.expand(&mut root, findings);
    let open = inputs.fill(&mut root, findings);
    inputs.unused(findings);
    let refused = std::mem::take(&mut templates.refused);
    let planned = planned(&root, Reader::new(findings, open, refused));
    let plan = planned.map(|(plan, uses)| {
        references::check(uses, findings);
        cycles::check(&plan, findings);
        plan
    });
    templates.revise(findings);
    plan
}

fn planned(root: &Node, mut reader: Reader<'_>) -> Option<(Plan, Uses)> {
    if !reader.check(root, &tables::FILE) {
        return None;
    }
    let pipeline = root.get("pipeline").or_else(|| {
        // What stands beside it may be what is wrong.
        if !reader.has_refused() {
            reader.empty(root, &["pipeline"], "give it a `name` and `stages`");
        }
        None
    })?;
    pipeline.entries()?;
    let (id, name) = reader.identity(pipeline, "pipeline");
    if reader.template_link(pipeline, "pipeline") {
        return None;
    }
    reader.own_repository(pipeline);
    let timeout = reader.limit(pipeline, "timeout");
    let variables = reader.variables(pipeline, "variables");
    let Some(list) = pipeline.get("stages") else {
        let place = root.entry("pipeline").map_or(&root.location, |(key, _)| &key.location);
        let help = "add `stages:` with at least one `- stage:`";
        reader.missing(pipeline, &["stages"], place, "the pipeline has no `stages`", help);
        return None;
    };
    reader.uses.pipeline_variables(&variables);
    let stages = stage::graph(&mut reader, list);
    if stages.nodes.is_empty() && list.items().is_some_and(<[Node]>::is_empty) {
        reader.push(Diagnostic::invalid("empty-list", &list.location, "`stages` is empty: the pipeline does nothing"));
    }
    let plan = Plan { name, id, dialect: Dialect::Harness, timeout, variables, stages };
    Some((plan, reader.uses))
}
