//! Steps and groups: decides whether they run, and how many times.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kiln_pipeline::condition::{Verdict, decide, unmet_status};
use kiln_pipeline::failure;
use kiln_pipeline::plan::{ErrorKind, Group, StepNode, When};
use kiln_pipeline::strategy::expand;
use kiln_wire::run::{Cause, Status, StepReport};

use crate::context::lock;
use crate::fleet::{Lease, error_chain};
use crate::loops::Siblings;
use crate::nest::{Nest, Run};
use crate::stage_context::StageContext;
use crate::walk::{End, walk};
use crate::{outcome, status};

impl<'a> StageContext<'a> {
    /// Runs a step or a group, with all its iterations. Boxed, because groups hold steps and groups.
    pub(crate) fn node<'r>(
        &'r self,
        lease: &'r Lease,
        node: &'a StepNode,
        nest: Nest<'a>,
        prior: End,
    ) -> BoxFuture<'r, End>
    where
        'a: 'r,
    {
        self.iterations(lease, node, nest, prior).boxed()
    }

    async fn iterations(&self, lease: &Lease, node: &'a StepNode, nest: Nest<'a>, prior: End) -> End {
        let (own, strategy, group) = match node {
            StepNode::Step(step) => (&step.id, &step.strategy, false),
            StepNode::Group(group) => (&group.id, &group.strategy, true),
        };
        let Some(strategy) = strategy else { return self.one(lease, node, nest, own.clone(), prior).await };
        let expansion = match expand(strategy, &self.run.scope(&self.place(&nest, prior))) {
            Ok(expansion) => expansion,
            Err(error) => return self.not_expanded(node, nest, prior, &error_chain(&error)),
        };
        let siblings = Arc::new(Siblings::new(&expansion));
        let runs = expansion.iterations.into_iter().map(|iteration| {
            let (id, mut nest, siblings) = (format!("{own}{}", iteration.postfix), nest.clone(), Arc::clone(&siblings));
            nest.runs.push(Run { id: own, group, iteration, siblings: Arc::clone(&siblings) });
            async move {
                match siblings.skips() {
                    Some(why) => self.not_run(node, &id, Status::Skipped, why, &nest, prior),
                    None => siblings.ended(self.one(lease, node, nest, id, prior).await),
                }
            }
        });
        let ends = futures::stream::iter(runs).buffer_unordered(expansion.max_concurrency);
        ends.fold(End::Clear, |sum, end| async move { sum.and(end) }).await
    }

    async fn one(&self, lease: &Lease, node: &'a StepNode, nest: Nest<'a>, id: String, prior: End) -> End {
        if let Some(why) = self.why() {
            return self.not_run(node, &id, Status::Cancelled, &why.before_its_turn(), &nest, prior);
        }
        if let Some(why) = self.over.get() {
            return self.not_run(node, &id, Status::Skipped, why, &nest, prior);
        }
        let scope = self.run.scope(&self.place(&nest, prior));
        match decide(when(node), prior.into(), &scope, &self.run.options.facts) {
            Err(error) => {
                let message = format!("its condition has no value: {}", error_chain(&error));
                return self.not_run(node, &id, Status::Failed, &message, &nest, prior);
            }
            Ok(Verdict::Skip(why)) => return self.not_run(node, &id, Status::Skipped, &why, &nest, prior),
            Ok(Verdict::Run) => {}
        }
        match node {
            StepNode::Step(step) => self.step(lease, step, &id, &nest, prior).await,
            StepNode::Group(group) => self.group(lease, group, nest, id, prior).await,
        }
    }

    /// Runs a group as often as its failure strategies say.
    async fn group(&self, lease: &Lease, group: &'a Group, mut nest: Nest<'a>, id: String, prior: End) -> End {
        let key = nest.key(&id);
        nest.enter(group, id);
        let sight = self.run.plan.dialect.sight();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let steps = walk(&group.steps, sight, prior, |node, before| self.node(lease, node, nest.clone(), before));
            let end = steps.await;
            let (failed, kinds) = self.failed_within(&key);
            // What was before the group is no failure of it.
            let end = if prior == End::Failed && failed.is_empty() { End::Clear } else { end };
            let over = self.why().is_some() || self.gone.is_told() || kinds.contains(&ErrorKind::Infrastructure);
            let again = failure::again(&group.failure, &kinds, attempts);
            let Some(wait) = again.filter(|_| end == End::Failed && !over) else { return end };
            self.retry(&key, format!("{} failed", failed.join(", ")), wait.as_ref());
            if !self.pause(wait.as_ref()).await {
                return end;
            }
        }
    }

    /// Returns what failed, or was cancelled, in a group, and the kinds of failures.
    fn failed_within(&self, key: &str) -> (Vec<String>, Vec<ErrorKind>) {
        let within = |report: &&StepReport| report.id.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        let steps = lock(&self.steps);
        let failed: Vec<&StepReport> =
            steps.iter().filter(within).filter(|report| status::end(report.status) == End::Failed).collect();
        let kinds = failed.iter().filter_map(|report| outcome::kind(report.cause?)).collect();
        (failed.iter().map(|report| report.id.clone()).collect(), kinds)
    }

    /// Records a step or a group whose iterations could not be worked out. What would not have run anyway has not failed.
    fn not_expanded(&self, node: &StepNode, nest: Nest<'a>, prior: End, error: &str) -> End {
        let id = match node {
            StepNode::Step(step) => &step.id,
            StepNode::Group(group) => &group.id,
        };
        if let Some(why) = self.why() {
            return self.not_run(node, id, Status::Cancelled, &why.before_its_turn(), &nest, prior);
        }
        match unmet_status(when(node), prior.into()) {
            Some(why) => self.not_run(node, id, Status::Skipped, why, &nest, prior),
            None => self.not_run(node, id, Status::Failed, error, &nest, prior),
        }
    }

    /// Records a step or a group that was not started.
    fn not_run(&self, node: &StepNode, id: &str, status: Status, message: &str, nest: &Nest<'_>, prior: End) -> End {
        let name = match node {
            StepNode::Step(step) => &step.name,
            StepNode::Group(group) => &group.name,
        };
        self.run.record_step(self.id, &nest.groups, id, &[], status::word(status));
        self.finish(StepReport {
            id: nest.key(id),
            name: self.name(name, nest, prior),
            status,
            cause: match status {
                Status::Failed => Some(Cause::Plan),
                Status::Cancelled => Some(Cause::Cancelled),
                _ => None,
            },
            exit_code: None,
            message: Some(message.to_owned()),
            attempts: 0,
            duration: Duration::ZERO,
            tests: None,
        });
        status::end(status)
    }
}

fn when(node: &StepNode) -> &When {
    match node {
        StepNode::Step(step) => &step.when,
        StepNode::Group(group) => &group.when,
    }
}
