//! A driver without machines, for tests of code that uses drivers. It is strict: it refuses whatever a real driver
//! would refuse, and does only what it is asked to do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kiln_pool::{End, EndKind, Life};
use tokio::sync::watch;

use crate::{Abilities, Driver, DriverError, ErrorClass, Labels, LaunchRequest, Launched, Listed};

/// Most instances of one launch.
const BATCH_MAX: u32 = 4;

/// A failure that a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next launch fails with this class and makes nothing.
    Refuse(ErrorClass),
    /// The next launch makes its instances, and its answer is lost.
    LoseAnswer,
    /// The next launch makes at most this many of the requested instances.
    MakeOnly(u32),
    /// The addresses of the next launch's instances appear in listings only.
    AddressLater,
}

/// The driver. Its clones share their state.
#[derive(Debug, Clone)]
pub struct FakeDriver {
    state: Arc<Mutex<State>>,
    images: Arc<[String]>,
    needs_claim: bool,
}

#[derive(Debug, Default)]
struct State {
    instances: HashMap<String, Instance>,
    ended: HashSet<String>,
    agents: VecDeque<(SocketAddr, String)>,
    faults: VecDeque<Fault>,
    limit: Option<usize>,
    launches: usize,
    next_port: u16,
}

#[derive(Debug)]
struct Instance {
    /// The answer to its launch.
    launched: Launched,
    labels: Labels,
    address: SocketAddr,
    end: watch::Sender<Option<End>>,
}

impl FakeDriver {
    /// Creates a driver with these images.
    #[must_use]
    pub fn new(images: &[&str], needs_claim: bool) -> Self {
        let state = State { next_port: 40_000, ..State::default() };
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        Self { state: Arc::new(Mutex::new(state)), images, needs_claim }
    }

    /// Gives the next instance an agent at that address, with that name. Without this call, an instance's address leads
    /// nowhere.
    pub fn offer_agent(&self, address: SocketAddr, server_name: &str) {
        self.state().agents.push_back((address, server_name.to_owned()));
    }

    /// Makes the next launch fail.
    pub fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Limits the number of concurrent instances. A launch beyond it fails with [`ErrorClass::Capacity`].
    pub fn limit(&self, instances: usize) {
        self.state().limit = Some(instances);
    }

    /// Ends an instance as a crash would.
    pub fn crash(&self, id: &str, evidence: &str) {
        if let Some(instance) = self.state().instances.get(id) {
            instance.end.send_replace(Some(End::new(EndKind::Crashed, evidence)));
        }
    }

    /// Returns the number of instances that were ever made.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.state().launches
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, request: &LaunchRequest) -> Result<Vec<Launched>, DriverError> {
        self.check(request)?;
        let mut state = self.state();
        let ids: Vec<String> = request.ids().collect();
        if let Some(ended) = ids.iter().find(|id| state.ended.contains(*id)) {
            let message = format!("instance {ended} has ended; an instance never runs twice");
            return Err(refusal(ErrorClass::Invalid, message));
        }
        let there: Vec<Launched> =
            ids.iter().filter_map(|id| state.instances.get(id)).map(|i| i.launched.clone()).collect();
        if !there.is_empty() {
            return Ok(there);
        }
        let fault = state.faults.pop_front();
        if let Some(Fault::Refuse(class)) = fault {
            return Err(refusal(class, format!("the test refuses {}", request.token)));
        }
        let left = state.limit.map_or(ids.len(), |limit| limit.saturating_sub(state.instances.len()));
        let most = if let Some(Fault::MakeOnly(most)) = fault { most as usize } else { ids.len() };
        let made = ids.len().min(left).min(most);
        if made == 0 {
            return Err(refusal(ErrorClass::Capacity, "all places are taken".to_owned()));
        }
        let later = fault == Some(Fault::AddressLater);
        let launched: Vec<Launched> =
            ids.into_iter().take(made).map(|id| state.make(id, &request.labels, self.needs_claim, later)).collect();
        if fault == Some(Fault::LoseAnswer) {
            return Err(refusal(
                ErrorClass::Ambiguous,
                format!("the answer to the launch of {} was lost", request.token),
            ));
        }
        Ok(launched)
    }

    fn check(&self, request: &LaunchRequest) -> Result<(), DriverError> {
        let token = &request.token;
        let id_ok = (1..=60).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !token.starts_with('-');
        let count_ok = (1..=BATCH_MAX).contains(&request.count);
        if !id_ok || !count_ok || request.cpus == 0 || request.memory_mib == 0 {
            return Err(refusal(ErrorClass::Invalid, format!("not a request that can be carried out: {request:?}")));
        }
        if !self.images.contains(&request.image) {
            return Err(refusal(ErrorClass::NotFound, format!("there is no image `{}`", request.image)));
        }
        Ok(())
    }
}

impl State {
    fn make(&mut self, id: String, labels: &Labels, needs_claim: bool, address_later: bool) -> Launched {
        self.next_port += 1;
        self.launches += 1;
        let nowhere = (SocketAddr::from(([127, 0, 0, 1], self.next_port)), id.clone());
        let (address, server_name) = self.agents.pop_front().unwrap_or(nowhere);
        let launched = Launched {
            id: id.clone(),
            reach: (!address_later).then(|| address.into()),
            server_name,
            needs_claim,
            phases: vec![("fake", Duration::ZERO)],
        };
        let (labels, end) = (labels.clone(), watch::Sender::new(None));
        self.instances.insert(id, Instance { launched: launched.clone(), labels, address, end });
        launched
    }
}

fn refusal(class: ErrorClass, message: String) -> DriverError {
    DriverError { class, message, source: None }
}

impl Instance {
    fn listed(&self, id: &str) -> Listed {
        let end = self.end.borrow().clone();
        let launched = Launched { reach: Some(self.address.into()), ..self.launched.clone() };
        Listed {
            id: id.to_owned(),
            launched: end.is_none().then_some(launched),
            life: end.map_or(Life::Running, Life::Ended),
            labels: self.labels.clone(),
        }
    }
}

impl Driver for FakeDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        async move {
            // A real launch takes time, and other calls arrive meanwhile.
            tokio::task::yield_now().await;
            self.start(request)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        let state = self.state();
        let mut listed: Vec<Listed> = state.instances.iter().map(|(id, instance)| instance.listed(id)).collect();
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        async move { Ok(listed) }.boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let mut state = self.state();
        if let Some(instance) = state.instances.remove(id) {
            instance.end.send_if_modified(|end| {
                let running = end.is_none();
                end.get_or_insert_with(|| End::new(EndKind::Destroyed, "destroyed"));
                running
            });
            state.ended.insert(id.to_owned());
        }
        async { Ok(()) }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        let end = self.state().instances.get(id).map(|instance| instance.end.subscribe());
        async move {
            let Some(mut end) = end else { return End::new(EndKind::Unknown, format!("instance {id} does not run")) };
            // The sender is dropped only after it has sent the end.
            let told = end.wait_for(Option::is_some).await.map(|end| end.clone());
            told.ok().flatten().unwrap_or_else(|| End::new(EndKind::Unknown, "gone"))
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        let known = self.state().instances.contains_key(id);
        async move { if known { format!("console of {id}") } else { String::new() } }.boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities { batch_max: BATCH_MAX, ..Abilities::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Subject, check};

    fn request(token: &str) -> LaunchRequest {
        LaunchRequest {
            token: token.to_owned(),
            count: 1,
            place: String::new(),
            image: "debian".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_gib: 8,
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            labels: Labels::new(),
        }
    }

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let driver = FakeDriver::new(&["debian"], true);
        let crashed = driver.clone();
        let crash = move |id: &str| {
            crashed.crash(id, "it crashed");
            async {}.boxed()
        };
        check(Subject { driver: &driver, request: request("t"), crash: &crash, limit: Duration::from_secs(5) }).await;
        assert_eq!(driver.list().await.expect("list"), []);
    }

    #[tokio::test]
    async fn faults_happen_once_and_a_lost_answer_is_found_again() {
        let driver = FakeDriver::new(&["debian"], true);
        driver.fail_next(Fault::Refuse(ErrorClass::Throttled));
        driver.fail_next(Fault::LoseAnswer);
        let class = |result: Result<Vec<Launched>, DriverError>| {
            result.map(|all| all.into_iter().map(|l| l.id).collect::<Vec<_>>().join(" ")).map_err(|e| e.class)
        };
        assert_eq!(class(driver.launch(&request("a")).await), Err(ErrorClass::Throttled));
        assert_eq!(driver.launches(), 0);
        assert_eq!(class(driver.launch(&request("a")).await), Err(ErrorClass::Ambiguous));
        let listed = driver.list().await.expect("list");
        let lives: Vec<_> = listed.iter().map(|l| (l.id.as_str(), l.life.clone())).collect();
        assert_eq!(lives, [("a", Life::Running)]);
        assert_eq!(class(driver.launch(&request("a")).await), Ok("a".to_owned()));
        assert_eq!(driver.launches(), 1);
        driver.limit(1);
        assert_eq!(class(driver.launch(&request("b")).await), Err(ErrorClass::Capacity));
    }

    #[tokio::test]
    async fn a_crash_tells_its_evidence() {
        let driver = FakeDriver::new(&["debian"], true);
        driver.launch(&request("a")).await.expect("launch");
        driver.crash("a", "killed by signal 9");
        assert_eq!(driver.ended("a").await, End::new(EndKind::Crashed, "killed by signal 9"));
    }

    #[tokio::test]
    async fn a_batch_may_be_filled_in_part_and_its_addresses_may_come_late() {
        let driver = FakeDriver::new(&["debian"], true);
        driver.fail_next(Fault::MakeOnly(2));
        let batch = LaunchRequest { count: 3, ..request("a") };
        let made = driver.launch(&batch).await.expect("a part of it");
        assert_eq!(made.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), ["a", "a-1"]);
        assert_eq!(driver.launch(&batch).await.expect("the same part"), made);
        driver.fail_next(Fault::AddressLater);
        let made = driver.launch(&request("b")).await.expect("a launch");
        assert_eq!(made.iter().map(|l| l.reach.clone()).collect::<Vec<_>>(), [None]);
        let listed = driver.list().await.expect("list");
        assert!(listed.iter().all(|l| l.launched.as_ref().is_some_and(|l| l.reach.is_some())), "{listed:?}");
    }
}
