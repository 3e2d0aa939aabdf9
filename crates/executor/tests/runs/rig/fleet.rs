//! A fleet whose instances are agents in this process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::{Agent, Credentials};
use kiln_agent_rig::{Link, NAME, Rig};
use kiln_executor::{Fleet, FleetError, Lease, Want};
use kiln_wire::run::Phase;
use tokio::sync::watch;

/// One agent and what may happen to it.
struct Machine {
    rig: Rig,
    link: Link,
    ended: watch::Sender<Option<String>>,
}

/// The agents of a run by the ids of their stages.
#[derive(Default)]
pub struct Agents {
    machines: Mutex<BTreeMap<String, Machine>>,
    /// Stages that get no instance, and why.
    refused: BTreeMap<String, String>,
    /// Stages that wait until they are let go.
    held_up: BTreeMap<String, watch::Sender<bool>>,
    /// What was asked of the fleet, in order.
    calls: Mutex<Vec<String>>,
    /// Whether a new agent answers no more once it is set up.
    frozen_first: bool,
    /// How many connections to a new agent break.
    refused_first: u64,
    releases_fail: bool,
    /// Whether an instance may be held, as one of a runner may.
    holds: bool,
}

impl Agents {
    pub fn refuse(&mut self, stage: &str, why: &str) {
        self.refused.insert(stage.to_owned(), why.to_owned());
    }

    pub fn hold_up(&mut self, stage: &str) {
        self.held_up.insert(stage.to_owned(), watch::Sender::new(false));
    }

    pub fn let_go(&self, stage: &str) {
        self.held_up[stage].send_replace(true);
    }

    /// A stage's agent answers no more, and its connections stay open.
    pub fn freeze(&self, stage: &str) {
        self.machines()[stage].link.stand_still();
    }

    /// New agents answer no more once they are set up.
    pub fn freeze_first(&mut self) {
        self.frozen_first = true;
    }

    pub fn refuse_first(&mut self, connections: u64) {
        self.refused_first = connections;
    }

    /// What is given back is not taken.
    pub fn fail_releases(&mut self) {
        self.releases_fail = true;
    }

    pub fn be_a_runner(&mut self) {
        self.holds = true;
    }

    /// The agent of a stage ends like a crash.
    pub fn kill(&self, stage: &str) {
        self.machines()[stage].rig.kill();
    }

    /// The agent of a stage crashes and is started again, as a service of its machine is.
    pub fn restart(&self, stage: &str) {
        let machines = self.machines();
        machines[stage].rig.restart(&machines[stage].link);
    }

    /// The connections to a stage's agent break.
    pub fn cut(&self, stage: &str) {
        self.machines()[stage].link.cut();
    }

    /// The connections to a stage's agent break, and so many of the next ones.
    pub fn refuse_connections(&self, stage: &str, connections: u64) {
        self.machines()[stage].link.refuse(connections);
    }

    /// No connection to a stage's agent can be made any more.
    pub fn close(&self, stage: &str) {
        self.machines()[stage].link.close();
    }

    /// The instance of a stage ends by itself, and what ran there with it.
    pub fn end(&self, stage: &str, evidence: &str) {
        let machines = self.machines();
        machines[stage].ended.send_replace(Some(evidence.to_owned()));
        machines[stage].rig.kill();
    }

    /// What was asked of the fleet, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic").clone()
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().expect("no panic")
    }

    fn note(&self, call: &str, stage: &str) {
        self.calls.lock().expect("no panic").push(format!("{call} {}", bare(stage)));
    }
}

/// The stage's id without that of its run.
fn bare(stage: &str) -> &str {
    stage.split_once('-').map_or(stage, |(_, id)| id)
}

impl Fleet for Agents {
    fn acquire<'a>(
        &'a self,
        want: &'a Want<'a>,
        waiting: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>> {
        async move {
            let stage = bare(&want.stage);
            self.note("acquire", &want.stage);
            if let Some(why) = self.refused.get(stage) {
                self.note("refuse", &want.stage);
                return Err(FleetError::Refused(why.clone()));
            }
            if let Some(gate) = self.held_up.get(stage) {
                waiting("all are busy");
                gate.subscribe().wait_for(|open| *open).await.expect("the gate lives as long as the fleet");
            }
            let rig = Rig::with(|settings| settings.kill_grace = Duration::from_millis(500)).await;
            let link = Link::to(rig.address).await;
            let client = rig.authority.issue_client("runner").expect("a certificate");
            let credentials = Credentials { ca_pem: rig.authority.ca_pem().to_owned(), client };
            let reach = link.address.into();
            let agent = Agent::new(&reach, NAME, &credentials)?;
            agent.setup(&want.setup).await?;
            if self.frozen_first {
                link.stand_still();
            }
            if self.refused_first > 0 {
                link.refuse(self.refused_first);
            }
            let phases = vec![Phase { name: "boot".to_owned(), duration: Duration::ZERO }];
            let address = (!self.holds).then_some(reach);
            self.machines().insert(stage.to_owned(), Machine { rig, link, ended: watch::Sender::new(None) });
            Ok(Lease { stage: want.stage.clone(), id: format!("vm-{stage}"), agent, address, phases })
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        async move {
            self.note("release", &lease.stage);
            if self.releases_fail {
                return Err(FleetError::Refused("the runner is away".to_owned()));
            }
            let agent = self.machines()[bare(&lease.stage)].rig.agent.clone();
            agent.end_steps().await;
            Ok(())
        }
        .boxed()
    }

    fn abandon<'a>(&'a self, stage: &'a str) -> BoxFuture<'a, ()> {
        async move { self.note("abandon", stage) }.boxed()
    }

    fn hold<'a>(&'a self, lease: &'a Lease, _duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        async move {
            self.note("hold", &lease.stage);
            Ok(self.holds)
        }
        .boxed()
    }

    fn ended<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, String> {
        let mut ended = self.machines()[bare(&lease.stage)].ended.subscribe();
        async move {
            let evidence = ended.wait_for(Option::is_some).await.expect("the machine lives as long as the fleet");
            evidence.clone().unwrap_or_default()
        }
        .boxed()
    }
}
