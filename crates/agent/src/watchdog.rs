//! Powers the machine off when nobody asks for it any more, so that one that everybody forgot does not cost for ever.
//!
//! Time is the kernel's monotonic clock: it stands still while a machine sleeps, so a machine that is resumed after a
//! night gets its lease in full, and setting the wall clock changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::durations::positive_seconds;
use crate::lock::lock;
use crate::os::power;

/// When the runner was last heard of, and how long silence may last.
#[derive(Debug)]
pub struct Contact {
    times: Mutex<Times>,
    open: AtomicUsize,
}

#[derive(Debug)]
struct Times {
    born: Instant,
    last: Instant,
    lease: Option<Duration>,
    max_age: Option<Duration>,
}

/// A request that is being answered. While there is one, the runner is there: a connection whose other end vanished
/// is closed by its keep-alive, and its requests end with it.
#[derive(Debug)]
pub struct Open(Arc<Contact>);

impl Contact {
    /// Counts from now.
    pub fn new(lease: Option<Duration>, max_age: Option<Duration>) -> Arc<Self> {
        let now = Instant::now();
        let times = Mutex::new(Times { born: now, last: now, lease, max_age });
        Arc::new(Self { times, open: AtomicUsize::new(0) })
    }

    /// A request arrived.
    pub fn open(self: &Arc<Self>) -> Open {
        lock(&self.times).last = Instant::now();
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// When a request last began or ended.
    pub(crate) fn last(&self) -> Instant {
        lock(&self.times).last
    }

    /// Requests that are being answered.
    pub fn open_requests(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A claim: age counts from now, with the limits it brought.
    pub fn claimed(&self, lease_s: i64, max_age_s: i64) {
        let mut times = lock(&self.times);
        (times.born, times.last) = (Instant::now(), Instant::now());
        times.lease = positive_seconds(lease_s).or(times.lease);
        times.max_age = positive_seconds(max_age_s).or(times.max_age);
    }

    /// What an earlier process of the agent knew: the machine has this age already.
    pub(crate) fn is_aged(&self, age: Duration) {
        let mut times = lock(&self.times);
        times.born = times.born.checked_sub(age).unwrap_or(times.born);
    }

    /// When the machine has to go, and why; none when no limit is set. The time moves with every contact.
    fn deadline(&self) -> Option<(Instant, &'static str)> {
        let times = lock(&self.times);
        let last = if self.open.load(Ordering::Relaxed) > 0 { Instant::now() } else { times.last };
        let lease = times.lease.map(|lease| (last + lease, "no contact for the lease"));
        let age = times.max_age.map(|age| (times.born + age, "the maximum age is reached"));
        lease.into_iter().chain(age).min_by_key(|(at, _)| *at)
    }

    /// Returns with the reason when the machine has to go.
    pub async fn expired(&self) -> &'static str {
        loop {
            let now = Instant::now();
            match self.deadline() {
                Some((at, why)) if at <= now => return why,
                // A claim may bring a nearer limit at any time.
                Some((at, _)) => tokio::time::sleep_until(at.min(now + LOOK)).await,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

const LOOK: Duration = Duration::from_secs(1);

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.0.times).last = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whose the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// The agent's alone: it goes with the agent.
    Own,
    /// Others live on it too: only the agent goes.
    Shared,
}

/// Returns when the agent has to end. A machine of its own is powered off, which ends the agent too, so then it returns
/// never.
pub async fn watch(contact: &Contact, machine: Machine) {
    let why = contact.expired().await;
    match machine {
        Machine::Shared => tracing::error!(why, "ending"),
        Machine::Own => {
            power_off(why).await;
            std::future::pending::<()>().await;
        }
    }
}

/// Powers the machine off: first in good order, then at once.
async fn power_off(why: &str) {
    tracing::error!(why, "powering the machine off");
    if power::ask_off().await {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let error = power::off();
    tracing::error!(%error, "cannot power the machine off");
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    async fn check(contact: Arc<Contact>, expected_s: u64, why: &str) {
        let start = Instant::now();
        assert_eq!(contact.expired().await, why);
        assert_eq!(start.elapsed().as_secs(), expected_s);
    }

    #[tokio::test(start_paused = true)]
    async fn lease_and_age() {
        check(Contact::new(Some(s(60)), None), 60, "no contact for the lease").await;
        check(Contact::new(Some(s(60)), Some(s(30))), 30, "the maximum age is reached").await;
    }

    #[tokio::test(start_paused = true)]
    async fn contact_renews_the_lease_and_an_open_request_keeps_it() {
        let contact = Contact::new(Some(s(60)), None);
        tokio::time::advance(s(50)).await;
        let open = contact.open();
        tokio::time::advance(s(500)).await;
        assert!(tokio::time::timeout(s(100), contact.expired()).await.is_err());
        drop(open);
        check(contact, 60, "no contact for the lease").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_starts_the_age_anew_and_may_bring_limits() {
        let contact = Contact::new(None, Some(s(100)));
        tokio::time::advance(s(90)).await;
        contact.claimed(20, 0);
        check(contact, 20, "no contact for the lease").await;
    }

    #[tokio::test(start_paused = true)]
    async fn limits_that_no_clock_can_count_to_end_nothing() {
        for (lease_s, max_age_s) in [(i64::MAX, 0), (0, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            let contact = Contact::new(None, None);
            contact.claimed(lease_s, max_age_s);
            drop(contact.open());
            assert!(tokio::time::timeout(s(1000), contact.expired()).await.is_err(), "{lease_s} {max_age_s}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_shared_machine_the_end_of_the_lease_is_the_end_of_the_agent_alone() {
        let start = Instant::now();
        watch(&Contact::new(Some(s(60)), None), Machine::Shared).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_it_stays() {
        let contact = Contact::new(None, None);
        assert!(tokio::time::timeout(s(10_000), contact.expired()).await.is_err());
    }
}
