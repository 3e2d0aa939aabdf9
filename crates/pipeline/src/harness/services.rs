//! Reads `serviceDependencies`, the older form of `Background` steps: containers that run beside the steps from the start.

use std::collections::HashMap;

use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::{container, step_tables};
use crate::plan::{Node as PlanNode, Process, Run, Shell, Step, StepKind, StepNode, When};

/// Reads the services of a stage's `spec` as steps that begin before all others.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Node, seen: &mut HashMap<String, u32>) -> Vec<PlanNode<StepNode>> {
    let list = spec.get("serviceDependencies").and_then(Node::items).unwrap_or_default();
    let steps = list.iter().filter_map(|node| service(reader, node, seen));
    steps.map(|step| PlanNode { item: StepNode::Step(Box::new(step)), needs: Vec::new() }).collect()
}

fn service(reader: &mut Reader<'_>, node: &Node, seen: &mut HashMap<String, u32>) -> Option<Step> {
    if !reader.check(node, &step_tables::DEPENDENCY) {
        return None;
    }
    let (id, name) = reader.identity(node, "service");
    reader.unique(&id, name_place(node), "step", seen);
    reader.uses.step(&id, &[], true);
    let Some(spec) = node.get("spec") else {
        reader.missing(node, &["spec"], name_place(node), "the service has no `spec`", "`spec` holds its `image`");
        return None;
    };
    if !reader.check(spec, &step_tables::SERVICE) {
        return None;
    }
    let Some(mut container) = container::read(reader, spec) else {
        reader.missing(spec, &["image"], name_place(node), "the service has no `image`", "");
        return None;
    };
    container.args = reader.texts(spec, "args");
    let process =
        Process { env: reader.env(spec, "envVariables"), user: reader.user(spec, "runAsUser"), ..Process::default() };
    let run = Run { shell: Shell::Sh, script: None, container: Some(container), process };
    let location = name_place(node).clone();
    let when = When::default();
    let (strategy, failure, timeout) = (None, Vec::new(), None);
    Some(Step {
        id,
        name,
        location,
        when,
        strategy,
        failure,
        timeout,
        ends_well: None,
        kind: StepKind::Background(run),
    })
}
