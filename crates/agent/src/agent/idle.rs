//! Giving memory back.
//!
//! ```text
//!  busy ──no request open, and none for a while──► idle: what is free is given back, once
//!    ▲                                              │
//!    └──────────────── a request ───────────────────┘
//! ```
//! The end of a stage gives back at once what is free by then. Connections, threads and sessions end a little later, and a machine
//! that waits for its stage has had none.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Agent;
use crate::bulk::on_thread;
use crate::lock::lock;
use crate::os::memory;
use crate::watchdog::Contact;

/// How long the runtime's threads wait for each other.
const MEET_WITHIN: Duration = Duration::from_millis(20);
/// How often it is looked. Threads that carry output wait two seconds for more.
const LOOK_EVERY: Duration = Duration::from_secs(3);

impl Agent {
    /// Gives memory back whenever the agent has become idle, until it is no more.
    pub(crate) async fn keep_lean(agent: Weak<Self>) {
        let Some(contact) = agent.upgrade().map(|agent| Arc::clone(&agent.contact)) else { return };
        let mut idle = Idle::default();
        while agent.strong_count() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
            if idle.begins(&contact) {
                give_back().await;
            }
        }
    }
}

/// Gives back what is free in all of the process, also what the runtime's threads keep for themselves.
pub(super) async fn give_back() {
    let workers = Handle::current().metrics().num_workers();
    let (meeting, mut taken) = (Arc::new(Meeting::default()), JoinSet::new());
    for _ in 0..workers {
        let meeting = Arc::clone(&meeting);
        taken.spawn(async move {
            // While each holds a thread, there is one for each.
            meeting.wait_for(workers);
            memory::take_own()
        });
    }
    let taken = taken.join_all().await;
    let given_back = on_thread("memory", move || {
        // What it keeps for itself is free when it has ended.
        let dropped = std::thread::Builder::new().spawn(move || drop(taken)).map(std::thread::JoinHandle::join);
        drop(dropped);
        memory::give_back();
    });
    if let Ok(given_back) = given_back {
        // An error means that the thread is gone.
        let _ = given_back.await;
    }
}

/// Where threads wait for each other, but not for long: one may be busy.
#[derive(Debug, Default)]
struct Meeting {
    here: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    fn wait_for(&self, all: usize) {
        let mut here = lock(&self.here);
        *here += 1;
        self.came.notify_all();
        let met = self.came.wait_timeout_while(here, MEET_WITHIN, |here| *here < all);
        // Whether all came or not, it goes on.
        drop(met);
    }
}

/// State of the agent at the latest look.
#[derive(Debug, Default)]
struct Idle {
    last: Option<Instant>,
    told: bool,
}

impl Idle {
    /// Whether nothing has happened since the last look, for the first time since something has.
    fn begins(&mut self, contact: &Contact) -> bool {
        let last = contact.last();
        if contact.open_requests() > 0 || self.last.replace(last) != Some(last) {
            self.told = false;
            return false;
        }
        !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_that_the_agent_became_idle() {
        let contact = Contact::new(None, None);
        let mut idle = Idle::default();
        let mut look = async |expect: bool| {
            tokio::time::sleep(LOOK_EVERY).await;
            assert_eq!(idle.begins(&contact), expect);
        };
        for _ in 0..2 {
            look(false).await;
            look(true).await;
            look(false).await;
            look(false).await;
            let open = contact.open();
            look(false).await;
            look(false).await;
            drop(open);
        }
    }
}
