//! Reads stages.

use std::collections::HashMap;

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::Node;

use super::failure::On;
use super::reader::{Reader, name_place, shortened};
use super::{MAX_ITEMS, caching, failure, infrastructure, services, steps, strategy, tables, volumes, words};
use crate::expr::Template;
use crate::plan::{EnvVar, Graph, Node as PlanNode, PoolRequest, Stage, Variable};

/// Where the source tree lies in the instance; the vendor's documentation promises this path to scripts.
pub(super) const WORKSPACE: &str = "/harness";

/// Reads the list of stages as a graph.
pub(super) fn graph(reader: &mut Reader<'_>, list: &Node) -> Graph<Stage> {
    let mut build = Build { reader, nodes: Vec::new(), overflow: None, seen: HashMap::new(), pools: Vec::new() };
    let mut before = Vec::new();
    for item in list.items().unwrap_or_default() {
        before = build.item(item, before, true);
    }
    if let Some(place) = build.overflow {
        let message = format!("more than {MAX_ITEMS} stages in one list");
        build
            .reader
            .push(Diagnostic::invalid("too-many-items", &place, message).help("a `strategy` multiplies an item"));
    }
    Graph { nodes: build.nodes }
}

struct Build<'a, 'f> {
    reader: &'a mut Reader<'f>,
    nodes: Vec<PlanNode<Stage>>,
    /// Place of the first item beyond the limit.
    overflow: Option<Location>,
    /// Identifiers and the lines where they stand.
    seen: HashMap<String, u32>,
    /// The instances of the stages so far, for `useFromStage`.
    pools: Vec<(String, PoolRequest)>,
}

impl Build<'_, '_> {
    /// Adds one item of a list and returns the indices that the next item has to wait for.
    fn item(&mut self, item: &Node, before: Vec<usize>, parallel_allowed: bool) -> Vec<usize> {
        if self.nodes.len() >= MAX_ITEMS {
            self.overflow.get_or_insert_with(|| item.location.clone());
            return before;
        }
        if self.reader.unwrapped(item, "stage", &["stage", "parallel", "insert"])
            || !self.reader.check(item, &tables::STAGE_ITEM)
        {
            return before;
        }
        if let Some((key, list)) = item.entry("parallel").filter(|(_, list)| !list.is_null()) {
            if !parallel_allowed {
                let message = "`parallel` stands inside `parallel`";
                self.reader.push(
                    Diagnostic::invalid("nested-parallel", &key.location, message)
                        .help("list all the stages in one `parallel`"),
                );
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
            let message = "`insert` is a place for a template's stages, which only the Harness platform has";
            self.reader.push(Diagnostic::unsupported("template", &key.location, message));
            return before;
        }
        match item.get("stage") {
            Some(stage) => match self.stage(stage) {
                Some(stage) => {
                    self.nodes.push(PlanNode { item: stage, needs: before });
                    vec![self.nodes.len() - 1]
                }
                None => before,
            },
            None => {
                let message = "this item of `stages` holds no stage";
                let help = "each item is `- stage:` or `- parallel:`";
                self.reader.missing(item, &["stage", "parallel"], &item.location, message, help);
                before
            }
        }
    }

    fn stage(&mut self, node: &Node) -> Option<Stage> {
        if node.entries().is_none() {
            self.reader.check(node, &tables::STAGE);
            return None;
        }
        let since = self.reader.mark();
        let (id, name) = self.reader.identity(node, "stage");
        let stage = self.identified(node, &id, name);
        self.reader.about(&id, since);
        stage
    }

    fn identified(&mut self, node: &Node, id: &str, name: String) -> Option<Stage> {
        self.reader.unique(id, name_place(node), "stage", &mut self.seen);
        self.reader.uses.stage(id);
        if self.reader.template_link(node, "stage") || !self.is_build(node) {
            self.reader.uses.opaque_stage();
            return None;
        }
        self.reader.check(node, &tables::STAGE);
        let Some(spec) = node.get("spec") else {
            let help = "`spec` holds `execution` with the `steps`";
            self.reader.missing(node, &["spec"], name_place(node), "the stage has no `spec`", help);
            return None;
        };
        if !self.reader.check(spec, &tables::STAGE_SPEC) {
            return None;
        }
        self.read(node, spec, id.to_owned(), name)
    }

    fn read(&mut self, node: &Node, spec: &Node, id: String, name: String) -> Option<Stage> {
        let reader = &mut *self.reader;
        let mut variables = reader.variables(node, "pipelineVariables");
        variables.extend(reader.variables(node, "variables"));
        reader.uses.stage_variables(&variables);
        let pool = infrastructure::pool(reader, spec, name_place(node), &self.pools);
        self.pools.push((id.clone(), pool.clone()));
        let strategy = strategy::read(reader, node);
        let axes = reader.uses.enter_stage(strategy.as_ref());
        let when = reader.when(node, "pipelineStatus");
        let failure = failure::read(reader, node, On::Stage);
        let timeout = reader.limit(node, "timeout");
        let workspace = reader.switch(spec, "cloneCodebase").unwrap_or(false);
        let list = spec.get("execution").and_then(|execution| execution.get("steps"));
        let steps = match list {
            Some(list) => {
                let mut seen = HashMap::new();
                let services = services::read(reader, spec, &mut seen);
                steps::after(reader, list, services, seen)
            }
            None => {
                let help = "`spec` holds `execution:` and that holds `steps:`";
                let holder = spec.get("execution").unwrap_or(spec);
                reader.missing(holder, &["execution", "steps"], name_place(node), "the stage has no steps", help);
                Graph { nodes: Vec::new() }
            }
        };
        reader.uses.leave(axes);
        Some(Stage {
            id,
            name,
            location: name_place(node).clone(),
            pool,
            workspace,
            workspace_dir: WORKSPACE.to_owned(),
            workspace_base: WORKSPACE.to_owned(),
            volumes: volumes::read(reader, spec, &steps),
            cache: caching::read(reader, spec),
            env: environment(&variables),
            variables,
            when,
            strategy,
            failure,
            timeout,
            steps,
        })
    }

    /// Tells whether it is a build stage, and reports any other.
    fn is_build(&mut self, node: &Node) -> bool {
        let Some(value) = node.get("type") else {
            self.reader.check(node, &tables::STAGE);
            self.reader.missing(
                node,
                &["type"],
                name_place(node),
                "the stage has no `type`",
                "a build stage has `type: CI`",
            );
            return false;
        };
        let kind = value.text().unwrap_or_default();
        if kind == "CI" {
            return true;
        }
        let found = if words::STAGE_TYPES.contains(&kind) {
            let message = format!("a stage of type `{kind}` is not run by Kiln, which runs build stages");
            Diagnostic::unsupported("stage-type", &value.location, message)
                .help("run the build stages alone, or leave this one to the Harness platform")
        } else {
            let mut found = Diagnostic::invalid(
                "unknown-stage-type",
                &value.location,
                format!("unknown type of stage `{}`", shortened(kind)),
            );
            found.help = did_you_mean(kind, words::STAGE_TYPES.iter().copied());
            found
        };
        self.reader.push(found);
        false
    }
}

/// Returns a stage's variables as environment variables of its steps, as far as their names allow.
fn environment(variables: &[Variable]) -> Vec<EnvVar> {
    let name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let shown = variables.iter().filter(|variable| name(&variable.name));
    shown
        .map(|variable| {
            // The text of a secret variable is the name of a secret.
            let named = variable.secret && variable.value.is_literal() && !variable.value.text().is_empty();
            let value = if named { Template::secret(variable.value.text()) } else { variable.value.clone() };
            EnvVar { name: variable.name.clone(), value }
        })
        .collect()
}
