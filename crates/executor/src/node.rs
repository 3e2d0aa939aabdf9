//! Steps and groups: decides whether they run, and how many times.

use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kiln_pipeline::condition::{Verdict, decide, unmet_status};
use kiln_pipeline::plan::{Group, StepNode, When};
use kiln_pipeline::strategy::expand;
use kiln_wire::run::{Cause, Status, StepReport};

use crate::fleet::{Lease, error_chain};
use crate::nest::Nest;
use crate::stage_context::StageContext;
use crate::status;
use crate::walk::{End, walk};

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
        let (id, strategy) = match node {
            StepNode::Step(step) => (&step.id, &step.strategy),
            StepNode::Group(group) => (&group.id, &group.strategy),
        };
        let Some(strategy) = strategy else { return self.one(lease, node, nest, id.clone(), prior).await };
        let expansion = match expand(strategy, &self.run.scope(&self.place(&nest, prior))) {
            Ok(expansion) => expansion,
            Err(error) => return self.not_expanded(node, nest, prior, &error_chain(&error)),
        };
        let runs = expansion.iterations.into_iter().map(|iteration| {
            let id = format!("{id}{}", iteration.postfix);
            let mut nest = nest.clone();
            nest.iterations.push(iteration);
            self.one(lease, node, nest, id, prior)
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

    async fn group(&self, lease: &Lease, group: &'a Group, mut nest: Nest<'a>, id: String, prior: End) -> End {
        nest.enter(group, id);
        let sight = self.run.plan.dialect.sight();
        walk(&group.steps, sight, prior, |node, before| self.node(lease, node, nest.clone(), before)).await
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
