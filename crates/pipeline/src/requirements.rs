//! What a plan needs from the caller before it can run: secrets, and values for `<+input>`.

use std::collections::BTreeSet;

use kiln_document::diagnostic::Location;

use crate::expr::Template;
use crate::plan::{
    Axis, AxisValue, BuildImage, CloneFrom, Condition, Container, Credentials, Cut, EnvVar, GitClone, Graph, Plan,
    Revision, Stage, Step, StepKind, StepNode, Store, Strategy, StrategyKind, Variable, VolumeSource, When,
};
use crate::reach::Reach;

/// One thing that the caller is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The secret's name, or the path by which [`crate::Options::inputs`] takes the value.
    pub name: String,
    /// Where it is first needed.
    pub location: Location,
}

impl Plan {
    /// Returns the secrets to which what can run refers by name, each once. Names that an expression computes are not
    /// known before the run.
    #[must_use]
    pub fn secrets(&self, reach: &Reach<'_>) -> Vec<Requirement> {
        let mut found: Vec<Requirement> = Vec::new();
        self.visit(reach, false, &mut |template, at| {
            for name in template.secrets() {
                if !found.iter().any(|other| other.name == name) {
                    found.push(Requirement { name, location: at.location.clone() });
                }
            }
        });
        found.sort_by_key(|one| one.location.span.start);
        found
    }

    /// Returns the values that are still to be given: `<+input>`s without a value or a default, where what can run needs
    /// one.
    #[must_use]
    pub fn inputs(&self, reach: &Reach<'_>) -> Vec<Requirement> {
        let mut found: Vec<Requirement> = Vec::new();
        // As in Harness, whoever runs a pipeline gives all its variables.
        self.visit(reach, reach.is_whole(), &mut |template, at| {
            if template.inputs() && !found.iter().any(|other| other.name == at.path) {
                found.push(Requirement { name: at.path.clone(), location: at.location.clone() });
            }
            let asked = template.of_connectors().into_iter().filter(|name| !reach.is_given(name));
            for name in asked {
                if !found.iter().any(|other| other.name == name) {
                    found.push(Requirement { name, location: at.location.clone() });
                }
            }
        });
        found.sort_by_key(|one| one.location.span.start);
        found
    }

    /// Visits what can run, and of the variables of the pipeline `all` or those that it asks for.
    fn visit(&self, reach: &Reach<'_>, all: bool, visitor: &mut dyn FnMut(&Template, &At)) {
        let mut asked = Asked { names: BTreeSet::new(), all };
        let mut noting = |template: &Template, at: &At| {
            asked.note(template);
            visitor(template, at);
        };
        for node in self.stages.nodes.iter().filter(|node| reach.is_asked(&node.item)) {
            let stage = &node.item;
            let path = format!("pipeline.stages.{}", stage.id);
            let at = At { path: path.clone(), location: stage.location.clone() };
            let mut walk = Walk { visitor: &mut noting, reach, stage };
            // How many runs there are is asked before whether they run.
            walk.strategy(stage.strategy.as_ref(), &at);
            if !reach.stage(stage) {
                continue;
            }
            walk.variables(&stage.variables, &path);
            walk.when(&stage.when, &at);
            // Most of a stage's environment repeats its variables, which have better places.
            let env = stage.env.iter().filter(|env| stage.variables.iter().all(|variable| variable.name != env.name));
            walk.env(env, &at.below("envVariables"));
            for volume in &stage.volumes {
                if let VolumeSource::Host(host) = &volume.source {
                    walk.one(host, &at.below("volumes"));
                }
            }
            if let Some(cache) = &stage.cache {
                walk.each(&cache.key, "spec.caching.key", &at);
                walk.each(&cache.paths, "spec.caching.paths", &at);
            }
            walk.graph(&stage.steps, &format!("{path}.spec.execution.steps"));
        }
        let mut seen = BTreeSet::new();
        // Variables may ask for others, also for those before them.
        while let Some(next) = self.variables.iter().find(|v| asked.has(&v.name) && !seen.contains(&v.name)) {
            seen.insert(next.name.clone());
            variable(next, "pipeline", &mut |template, at| {
                asked.note(template);
                visitor(template, at);
            });
        }
    }
}

/// The variables of the pipeline that something asks for.
struct Asked {
    names: BTreeSet<String>,
    /// Whether a name is computed, so that any may be meant.
    all: bool,
}

impl Asked {
    fn note(&mut self, template: &Template) {
        for path in template.references() {
            match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["pipeline"] | ["pipeline", "variables"] => self.all = true,
                ["pipeline", "variables", name, ..] => drop(self.names.insert((*name).to_owned())),
                _ => {}
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }
}

/// Gives `visitor` the templates of a declared variable.
fn variable(variable: &Variable, path: &str, visitor: &mut dyn FnMut(&Template, &At)) {
    let at = At { path: format!("{path}.variables.{}", variable.name), location: variable.location.clone() };
    if variable.secret && variable.value.is_literal() && !variable.value.text().is_empty() {
        // The text of a secret variable is the name of a secret.
        visitor(&Template::secret(variable.value.text()), &at);
    }
    visitor(&variable.value, &at);
}

/// A place, by the caller's name for it and in the file.
#[derive(Clone)]
struct At {
    path: String,
    location: Location,
}

impl At {
    fn below(&self, key: &str) -> At {
        At { path: format!("{}.{key}", self.path), location: self.location.clone() }
    }
}

struct Walk<'a> {
    visitor: &'a mut dyn FnMut(&Template, &At),
    reach: &'a Reach<'a>,
    stage: &'a Stage,
}

impl Walk<'_> {
    fn one(&mut self, template: &Template, at: &At) {
        (self.visitor)(template, at);
    }

    fn variables(&mut self, variables: &[Variable], path: &str) {
        variables.iter().for_each(|one| variable(one, path, self.visitor));
    }

    fn env<'e>(&mut self, env: impl IntoIterator<Item = &'e EnvVar>, at: &At) {
        for variable in env {
            self.one(&variable.value, &at.below(&variable.name));
        }
    }

    fn when(&mut self, when: &When, at: &At) {
        for condition in &when.conditions {
            if let Condition::Expr(template) = condition {
                self.one(template, &at.below("when.condition"));
            }
        }
    }

    fn strategy(&mut self, strategy: Option<&Strategy>, at: &At) {
        let Some(strategy) = strategy else { return };
        let at = At { path: format!("{}.strategy", at.path), location: strategy.location.clone() };
        match &strategy.kind {
            StrategyKind::Matrix { axes, .. } => {
                for (name, axis) in axes {
                    self.axis(axis, &at.below(&format!("matrix.{name}")));
                }
            }
            StrategyKind::Input { what: "matrix", value } => self.one(value, &at.below("matrix")),
            StrategyKind::Input { value, .. } => self.one(value, &at),
            StrategyKind::Parallelism(count) => self.one(count, &at.below("parallelism")),
            StrategyKind::Times(count) => self.one(count, &at.below("repeat.times")),
            StrategyKind::Items { items, cut } => {
                self.axis(items, &at.below("repeat.items"));
                match cut {
                    Cut::All => {}
                    Cut::Slice { start, end, .. } => {
                        start.iter().for_each(|start| self.one(start, &at.below("repeat.start")));
                        end.iter().for_each(|end| self.one(end, &at.below("repeat.end")));
                    }
                    Cut::Parts { size, .. } => self.one(size, &at.below("repeat.partitionSize")),
                }
            }
        }
    }

    fn axis(&mut self, axis: &Axis, at: &At) {
        match axis {
            Axis::Expr(template) => self.one(template, at),
            Axis::List(values) => values
                .iter()
                .enumerate()
                .for_each(|(index, value)| self.axis_value(value, &at.below(&index.to_string()))),
        }
    }

    fn axis_value(&mut self, value: &AxisValue, at: &At) {
        match value {
            AxisValue::Scalar(template) => self.one(template, at),
            AxisValue::Object(fields) => {
                fields.iter().for_each(|(name, field)| self.axis_value(field, &at.below(name)))
            }
        }
    }

    fn graph(&mut self, graph: &Graph<StepNode>, path: &str) {
        for node in &graph.nodes {
            match &node.item {
                StepNode::Step(step) => self.step(step, path),
                StepNode::Group(group) => {
                    let at = At { path: format!("{path}.{}", group.id), location: group.location.clone() };
                    self.strategy(group.strategy.as_ref(), &at);
                    if !self.reach.item(self.stage, &group.when) {
                        continue;
                    }
                    self.variables(&group.variables, &at.path);
                    self.when(&group.when, &at);
                    self.graph(&group.steps, &format!("{}.steps", at.path));
                }
            }
        }
    }

    fn step(&mut self, step: &Step, path: &str) {
        let at = At { path: format!("{path}.{}", step.id), location: step.location.clone() };
        self.strategy(step.strategy.as_ref(), &at);
        if !self.reach.item(self.stage, &step.when) {
            return;
        }
        self.when(&step.when, &at);
        self.kind(&step.kind, &at.below("spec"));
    }

    fn kind(&mut self, kind: &StepKind, at: &At) {
        match kind {
            StepKind::Run(run) | StepKind::Background(run) | StepKind::RunTests(run) => {
                self.each(&run.script, "command", at);
            }
            StepKind::Plugin(_) => {}
            StepKind::GitClone(clone) => self.repository(clone, at),
            StepKind::BuildImage(build) => self.build(build, at),
            StepKind::SaveCache(save) => {
                self.store(&save.store, at);
                self.one(&save.key, &at.below("key"));
                self.each(&save.paths, "sourcePaths", at);
            }
            StepKind::RestoreCache(restore) => {
                self.store(&restore.store, at);
                self.one(&restore.key, &at.below("key"));
            }
            StepKind::Upload(upload) => {
                self.store(&upload.store, at);
                self.one(&upload.source, &at.below("sourcePath"));
                self.each(&upload.target, "target", at);
                self.each(&upload.strip_prefix, "stripPrefix", at);
            }
        }
        if let Some(container) = kind.container() {
            self.container(container, at);
        }
        if let Some(process) = kind.process() {
            self.env(&process.env, &at.below("envVariables"));
            self.each(&process.reports, "reports", at);
            self.each(&process.working_dir, "workingDirectory", at);
        }
    }

    fn container(&mut self, container: &Container, at: &At) {
        self.one(&container.image, &at.below("image"));
        self.env(&container.settings, &at.below("settings"));
        self.each(&container.entrypoint, "entrypoint", at);
        self.each(&container.args, "args", at);
        let net = &container.net;
        for (list, key) in [(&net.dns, "dns"), (&net.dns_search, "dns_search"), (&net.extra_hosts, "extra_hosts")] {
            self.each(list, key, at);
        }
        self.credentials(&container.credentials, at);
    }

    fn credentials(&mut self, credentials: &Credentials, at: &At) {
        match credentials {
            Credentials::Nobody => {}
            Credentials::Connector(name) => self.one(name, &at.below("connectorRef")),
            Credentials::Configs(configs) => self.each(configs, "image_pull_secrets", at),
        }
    }

    fn repository(&mut self, clone: &GitClone, at: &At) {
        if let CloneFrom::Address { url, connector } = &clone.from {
            self.one(url, &at.below("repoName"));
            self.each(connector, "connectorRef", at);
        }
        self.one(&clone.directory, &at.below("cloneDirectory"));
        match &clone.revision {
            Revision::Default => {}
            Revision::Branch(value) => self.one(value, &at.below("build.spec.branch")),
            Revision::Tag(value) => self.one(value, &at.below("build.spec.tag")),
            Revision::Commit(value) => self.one(value, &at.below("build.spec.commitSha")),
            Revision::PullRequest(value) => self.one(value, &at.below("build.spec.number")),
        }
        self.each(&clone.depth, "depth", at);
        self.each(&clone.sparse, "sparseCheckout", at);
        self.each(&clone.before, "preFetchCommand", at);
    }

    fn build(&mut self, build: &BuildImage, at: &At) {
        self.each(&build.repository, "repo", at);
        self.each(&build.tags, "tags", at);
        self.each(&build.dockerfile, "dockerfile", at);
        self.each(&build.context, "context", at);
        self.each(build.labels.iter().map(|(_, value)| value), "labels", at);
        self.each(build.build_args.iter().map(|(_, value)| value), "buildArgs", at);
        self.each(&build.target, "target", at);
        self.each(&build.cache_from, "cacheFrom", at);
        self.each(&build.cache_to, "cacheTo", at);
        self.credentials(&build.credentials, at);
    }

    fn store(&mut self, store: &Store, at: &At) {
        match store {
            Store::Own => {}
            Store::S3(bucket) | Store::Gcs(bucket) | Store::Azure(bucket) => {
                self.each(&bucket.name, "bucket", at);
                self.each(&bucket.connector, "connectorRef", at);
                self.each(&bucket.region, "region", at);
                self.each(&bucket.endpoint, "endpoint", at);
                self.each(&bucket.account, "storageAccount", at);
            }
            Store::Artifactory { connector } => self.each(connector, "connectorRef", at),
        }
    }

    fn each<'t>(&mut self, templates: impl IntoIterator<Item = &'t Template>, key: &str, at: &At) {
        for template in templates {
            self.one(template, &at.below(key));
        }
    }
}
