//! Reads steps and step groups.

use std::collections::HashMap;

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::{closest, did_you_mean};
use kiln_document::yaml::Node;

use super::failure::On;
use super::reader::{Reader, name_place, shortened};
use super::{MAX_ITEMS, failure, kinds, step_tables, strategy, volumes, words};
use crate::expr;
use crate::plan::{FailureAction, FailureStrategy, Graph, Group, Node as PlanNode, Step, StepKind, StepNode};
use crate::reach;

/// Reads a list of steps as a graph.
pub(super) fn graph(reader: &mut Reader<'_>, list: &Node) -> Graph<StepNode> {
    after(reader, list, Vec::new(), HashMap::new())
}

/// Reads a list of steps that begin when others have, which are the beginning of the graph. `seen` holds the identifiers of those.
pub(super) fn after(
    reader: &mut Reader<'_>,
    list: &Node,
    nodes: Vec<PlanNode<StepNode>>,
    seen: HashMap<String, u32>,
) -> Graph<StepNode> {
    let mut before = (0..nodes.len()).collect();
    let mut build = Build { reader, nodes, overflow: None, seen };
    for item in list.items().unwrap_or_default() {
        before = build.item(item, before, true);
    }
    if let Some(place) = build.overflow {
        let message = format!("more than {MAX_ITEMS} steps in one list");
        build
            .reader
            .push(Diagnostic::invalid("too-many-items", &place, message).help("a `strategy` multiplies an item"));
    }
    Graph { nodes: build.nodes }
}

struct Build<'a, 'f> {
    reader: &'a mut Reader<'f>,
    nodes: Vec<PlanNode<StepNode>>,
    /// Place of the first item beyond the limit.
    overflow: Option<Location>,
    /// Identifiers and the lines where they stand.
    seen: HashMap<String, u32>,
}

impl Build<'_, '_> {
    /// Adds one item of a list and returns the indices that the next item has to wait for.
    fn item(&mut self, item: &Node, before: Vec<usize>, parallel_allowed: bool) -> Vec<usize> {
        if self.nodes.len() >= MAX_ITEMS {
            self.overflow.get_or_insert_with(|| item.location.clone());
            return before;
        }
        if self.reader.unwrapped(item, "step", &["step", "stepGroup", "parallel", "insert"])
            || !self.reader.check(item, &step_tables::STEP_ITEM)
        {
            return before;
        }
        if let Some((key, list)) = item.entry("parallel").filter(|(_, list)| !list.is_null()) {
            if !parallel_allowed {
                let message = "`parallel` stands inside `parallel`";
                let found = Diagnostic::invalid("nested-parallel", &key.location, message);
                self.reader.push(found.help("list all the steps in one `parallel`, or put some into a `stepGroup`"));
                return before;
            }
            let mut ends = Vec::new();
            for inner in list.items().unwrap_or_default() {
                let last = self.item(inner, before.clone(), false);
                ends.extend(last.into_iter().filter(|index| !before.contains(index)));
            }
            return if ends.is_empty() { before } else { ends };
        }
        if let Some((key, _)) = item.entry("insert") {
            let message = "`insert` is a place for a template's steps, which only the Harness platform has";
            self.reader.push(Diagnostic::unsupported("template", &key.location, message));
            return before;
        }
        let node = match (item.get("step"), item.get("stepGroup")) {
            (Some(step), _) => self.step(step).map(|step| StepNode::Step(Box::new(step))),
            (None, Some(group)) => self.group(group).map(|group| StepNode::Group(Box::new(group))),
            (None, None) => {
                let keys = ["step", "stepGroup", "parallel"];
                let help = "each item is `- step:`, `- stepGroup:` or `- parallel:`";
                self.reader.missing(item, &keys, &item.location, "this item of `steps` holds no step", help);
                None
            }
        };
        let Some(node) = node else { return before };
        self.nodes.push(PlanNode { item: node, needs: before });
        vec![self.nodes.len() - 1]
    }

    fn group(&mut self, node: &Node) -> Option<Group> {
        if !self.reader.check(node, &step_tables::GROUP) {
            return None;
        }
        let reader = &mut *self.reader;
        let (id, name) = reader.identity(node, "step group");
        reader.unique(&id, name_place(node), "step", &mut self.seen);
        reader.uses.step(&id, &[], true);
        if reader.template_link(node, "step group") {
            reader.uses.opaque_group();
            return None;
        }
        let variables = reader.variables(node, "variables");
        let strategy = strategy::read(reader, node);
        let axes = reader.uses.enter(strategy.as_ref());
        let when = reader.when(node, "stageStatus");
        let failure = failure::read(reader, node, On::Group);
        if let Some((key, _)) = node.entry("timeout").filter(|_| reader.limit(node, "timeout").is_some()) {
            reader.push(
                Diagnostic::unsupported("unsupported-key", &key.location, "`timeout` is not run yet on a step group")
                    .help("give the steps their own `timeout`"),
            );
        }
        let shared = volumes::paths(reader, node);
        reader.shared.extend(shared);
        let steps = match node.get("steps") {
            Some(list) => graph(reader, list),
            None => {
                reader.missing(node, &["steps"], name_place(node), "the step group has no `steps`", "");
                Graph { nodes: Vec::new() }
            }
        };
        reader.uses.leave(axes);
        runs_again(reader, node, &failure, &steps);
        Some(Group { id, name, location: name_place(node).clone(), variables, when, strategy, failure, steps })
    }

    fn step(&mut self, node: &Node) -> Option<Step> {
        if node.entries().is_none() {
            self.reader.check(node, &step_tables::STEP);
            return None;
        }
        let reader = &mut *self.reader;
        let (id, name) = reader.identity(node, "step");
        reader.unique(&id, name_place(node), "step", &mut self.seen);
        if reader.template_link(node, "step") {
            reader.uses.step(&id, &[], true);
            return None;
        }
        let Some(kind) = step_type(reader, node) else {
            reader.uses.step(&id, &[], true);
            return None;
        };
        let strategy = strategy::read(reader, node);
        let axes = reader.uses.enter(strategy.as_ref());
        let when = reader.when(node, "stageStatus");
        let failure = failure::read(reader, node, On::Step);
        let timeout = reader.limit(node, "timeout");
        let kind = kinds::read(reader, node, kind);
        if kind.as_ref().is_some_and(|kind| !reach::carries_out(kind)) {
            refuse(reader, node);
        }
        reader.uses.leave(axes);
        let process = kind.as_ref().and_then(StepKind::process);
        let outputs: Vec<&str> =
            process.iter().flat_map(|process| &process.outputs).map(|output| output.name.as_str()).collect();
        // Other steps than scripts leave values that the file does not name.
        let opaque = !matches!(kind, Some(StepKind::Run(_) | StepKind::Background(_) | StepKind::RunTests(_)));
        reader.uses.step(&id, &outputs, opaque);
        let location = name_place(node).clone();
        Some(Step { id, name, location, when, strategy, failure, timeout, ends_well: None, kind: kind? })
    }
}

/// Reports a group that runs again although something in it goes on beside its steps and would be there twice.
fn runs_again(reader: &mut Reader<'_>, node: &Node, failure: &[FailureStrategy], steps: &Graph<StepNode>) {
    let again = failure.iter().any(|strategy| matches!(strategy.action, FailureAction::RetryGroup { .. }));
    if again && goes_on(steps) {
        let message = "a step group with a `Background` step cannot run again as a whole yet";
        let found = Diagnostic::unsupported("failure-action", name_place(node), message);
        reader.push(found.help("put the `Background` step before the group"));
    }
}

fn goes_on(steps: &Graph<StepNode>) -> bool {
    steps.nodes.iter().any(|node| match &node.item {
        StepNode::Step(step) => step.kind.is_background(),
        StepNode::Group(group) => goes_on(&group.steps),
    })
}

/// Returns the kind of a step, and reports any kind that is not run.
fn step_type<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let Some(value) = node.get("type") else {
        let help = "a step that runs a script has `type: Run`";
        reader.check(node, &step_tables::STEP);
        reader.missing(node, &["type"], name_place(node), "the step has no `type`", help);
        return None;
    };
    let kind = value.text().unwrap_or_default();
    if kinds::TYPES.iter().any(|types| types.contains(&kind)) {
        reader.check(node, &step_tables::STEP);
        return Some(kind);
    }
    let known = words::OTHER_TYPES.iter().any(|word| word.eq_ignore_ascii_case(kind))
        || words::FAMILIES.iter().any(|family| kind.len() > family.len() && kind.starts_with(family));
    let found = if kind.contains(expr::MARKER) {
        let message = format!("the type of a step has to be known before the run, `{kind}` is not");
        Diagnostic::unsupported("expression-not-possible", &value.location, message)
    } else if known {
        let message = format!("a step of type `{kind}` is not run by Kiln yet");
        Diagnostic::unsupported("step-type", &value.location, message).help(instead(kind))
    } else {
        let message = format!("unknown type of step `{}`", shortened(kind));
        let mut found = Diagnostic::invalid("unknown-step-type", &value.location, message);
        let runnable = closest(kind, kinds::TYPES.concat()).map(|word| format!("did you mean `{word}`?"));
        found.help = runnable.or_else(|| did_you_mean(kind, words::OTHER_TYPES.iter().copied()));
        found.help.get_or_insert_with(|| "a step that runs a script has `type: Run`".to_owned());
        found
    };
    reader.push(found);
    None
}

/// Refuses a step whose kind is planned and not carried out yet.
fn refuse(reader: &mut Reader<'_>, node: &Node) {
    let written = node.get("type");
    let place = written.map_or(&node.location, |value| &value.location);
    let word = written.and_then(Node::text).unwrap_or_default();
    let message = format!("a step of type `{word}` is not run by Kiln yet");
    reader.push(Diagnostic::unsupported("step-type", place, message).help(instead(word)));
}

/// Returns what a user can do today instead of a step that is not run.
fn instead(kind: &str) -> &'static str {
    match kind {
        "Action" | "GHAPlugin" => {
            "a GitHub action is no program of its own: write the commands that it stands for into a `Run` step (`uses: \
             actions/setup-go` installs Go, for one), or use an image that has the tools (`kiln image build --package`)"
        }
        "Bitrise" => {
            "a Bitrise step is no program of its own: write the commands that it stands for into a `Run` step, or call \
             the `bitrise` command line there where the image has it"
        }
        kind if kind.contains("Approval") => "leave approvals to the Harness platform",
        kind if kind.contains("Artifactory") => "upload with `curl` or the `jf` program in a `Run` step",
        "Wait" => "`sleep` in a `Run` step does the same",
        _ => "a `Run` step with the same commands is run",
    }
}
