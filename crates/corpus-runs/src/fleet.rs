//! A fleet with one machine, that of the engine. The agent is in this process; one stage after the other has the machine.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::{Agent, Credentials};
use kiln_agent_rig::{NAME, Rig};
use kiln_executor::{Fleet, FleetError, Lease, Want};
use kiln_wire::reach::Reach;
use kiln_wire::run::Phase;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where stages have their sources, and what is emptied after each.
const FOLDERS: [&str; 2] = ["/harness", "/drone"];

/// The machine, and the stage that has it.
pub struct OneMachine {
    turn: std::sync::Arc<Semaphore>,
    taken: Mutex<Option<(Rig, OwnedSemaphorePermit)>>,
}

impl OneMachine {
    /// A machine that nobody has.
    pub fn new() -> Self {
        Self { turn: std::sync::Arc::new(Semaphore::new(1)), taken: Mutex::new(None) }
    }

    fn take(&self) -> Option<(Rig, OwnedSemaphorePermit)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Fleet for OneMachine {
    fn acquire<'a>(
        &'a self,
        want: &'a Want<'a>,
        waiting: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>> {
        async move {
            waiting("another stage has the machine");
            let turn = self.turn.clone().acquire_owned().await.expect("it is never closed");
            let rig = Rig::with(|_| {}).await;
            let client = rig.authority.issue_client("runner").expect("a certificate");
            let credentials = Credentials { ca_pem: rig.authority.ca_pem().to_owned(), client };
            let reach = Reach::from(rig.address);
            let agent = Agent::new(&reach, NAME, &credentials)?;
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some((rig, turn));
            if let Err(error) = agent.setup(&want.setup).await {
                self.take();
                return Err(error.into());
            }
            let phases = vec![Phase { name: "agent".to_owned(), duration: Duration::ZERO }];
            Ok(Lease { stage: want.stage.clone(), id: "machine".to_owned(), agent, address: Some(reach), phases })
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        async move {
            let Some((rig, turn)) = self.take() else { return Ok(()) };
            let destroyed = lease.agent.destroy().await;
            rig.agent.end_steps().await;
            drop(rig);
            for folder in FOLDERS {
                for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    // What is left shows in the next stage, whose sources it lies in.
                    let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                }
            }
            drop(turn);
            destroyed.map(drop).map_err(Into::into)
        }
        .boxed()
    }

    fn abandon<'a>(&'a self, _stage: &'a str) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    fn hold<'a>(&'a self, _lease: &'a Lease, _duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        async { Ok(false) }.boxed()
    }

    fn ended<'a>(&'a self, _lease: &'a Lease) -> BoxFuture<'a, String> {
        std::future::pending().boxed()
    }
}
