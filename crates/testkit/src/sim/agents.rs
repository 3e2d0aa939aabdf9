//! The agents in the VMs, as one runner reaches them.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::Agents;
use kiln_pool::{Cause, Instance};

use super::driver::Working;
use super::fault::Fault;
use super::invariant;
use super::world::{Part, Shared, World};

/// The agents for one start of a runner.
pub struct SimAgents {
    /// The world.
    pub shared: Arc<Shared>,
    /// The runner that calls.
    pub runner: usize,
    /// Number of its start.
    pub incarnation: u32,
}

/// Time after which a call of a silent agent is given up.
const PATIENCE_MS: i64 = 5_000;

impl SimAgents {
    async fn reach(&self, instance: &Instance, boot: bool) -> Result<(), String> {
        let before = self.shared.world().delay(20);
        self.shared.clock.sleep(before).await;
        let answer = self.shared.world().agent_answers(self.runner, instance, boot);
        if answer.is_err() {
            self.shared.clock.sleep(PATIENCE_MS).await;
        }
        answer
    }
}

impl World {
    /// Answers whether an agent can be reached, which renews its lease.
    pub(super) fn agent_answers(&mut self, runner: usize, instance: &Instance, boot: bool) -> Result<(), String> {
        if self.is_cut_off(runner, Part::Agents) {
            return Err("no route".to_owned());
        }
        let now = self.now_ms();
        let lost = self.strikes_in(if boot { "boot" } else { "health" }, Fault::ResponseLost);
        let vm = self.clouds.get_mut(instance.site.as_str()).and_then(|c| c.vms.get_mut(instance.id.as_str()));
        let Some(vm) = vm.filter(|vm| vm.runs()) else { return Err("connection refused".to_owned()) };
        if vm.boots_ms.is_none_or(|at| at > now) || vm.hangs_ms > now {
            return Err("no answer".to_owned());
        }
        let address = vm.launched().reach;
        if instance.address != address {
            let id = &instance.id;
            self.violate(
                "agent_is_the_right_one",
                format!("{id} listens at {address:?}, its row says {:?}", instance.address),
            );
            return Err("somebody else answers".to_owned());
        }
        // Only an instance that was launched as a copy gets an identity.
        let knows_us = vm.has_identity || (boot && instance.needs_claim);
        if !knows_us {
            return Err("certificate of another name".to_owned());
        }
        (vm.contact_ms, vm.unasked_ms) = (now, 0);
        if boot && !vm.has_identity {
            vm.has_identity = true;
            self.say(&format!("r{runner} agent {} takes its identity", instance.id));
        }
        if lost { Err("the connection broke".to_owned()) } else { Ok(()) }
    }
}

impl Agents for SimAgents {
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>> {
        async move {
            invariant::ordered(&mut self.shared.world(), self.runner, "boot", instance.id.as_str());
            let _working = Working::begin(&self.shared, self.runner, self.incarnation, instance.id.as_str());
            self.reach(instance, true).await
        }
        .boxed()
    }

    fn health<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<Option<Cause>, String>> {
        async move { self.reach(instance, false).await.map(|()| None) }.boxed()
    }
}
