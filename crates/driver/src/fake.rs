//! A driver without machines, for tests of what stands above drivers. It is strict: it refuses what a real one would, and
//! does nothing that it was not asked to do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Driver, DriverError, ErrorClass, Labels, LaunchRequest, Launched, Listed};

/// A failure that a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next launch fails with this class and makes nothing.
    Refuse(ErrorClass),
    /// The next launch makes its instance, and its answer is lost.
    LoseAnswer,
}

/// The driver. Clones of it are the same one.
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
    launched: Launched,
    labels: Labels,
    end: watch::Sender<Option<String>>,
}

impl FakeDriver {
    /// A driver that knows these images.
    #[must_use]
    pub fn new(images: &[&str], needs_claim: bool) -> Self {
        let state = State { next_port: 40_000, ..State::default() };
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        Self { state: Arc::new(Mutex::new(state)), images, needs_claim }
    }

    /// The next instance has its agent there, under that name. Without one, the address leads nowhere.
    pub fn offer_agent(&self, address: SocketAddr, server_name: &str) {
        self.state().agents.push_back((address, server_name.to_owned()));
    }

    /// Makes the next launch fail.
    pub fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// At most this many instances at once; more is [`ErrorClass::Capacity`].
    pub fn limit(&self, instances: usize) {
        self.state().limit = Some(instances);
    }

    /// Ends an instance as a crash would.
    pub fn crash(&self, id: &str, evidence: &str) {
        if let Some(instance) = self.state().instances.get(id) {
            instance.end.send_replace(Some(evidence.to_owned()));
        }
    }

    /// How many instances were ever made.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.state().launches
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, request: &LaunchRequest) -> Result<Launched, DriverError> {
        let id = &request.id;
        let id_ok = (1..=63).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !id.starts_with('-');
        if !id_ok || request.cpus == 0 || request.memory_mib == 0 {
            return Err(refusal(ErrorClass::Invalid, format!("not a request that can be carried out: {request:?}")));
        }
        if !self.images.contains(&request.image) {
            return Err(refusal(ErrorClass::NotFound, format!("there is no image `{}`", request.image)));
        }
        let mut state = self.state();
        if state.ended.contains(id) {
            return Err(refusal(ErrorClass::Invalid, format!("instance {id} has ended; an instance never runs twice")));
        }
        if let Some(instance) = state.instances.get(id) {
            return Ok(instance.launched.clone());
        }
        let fault = state.faults.pop_front();
        if let Some(Fault::Refuse(class)) = fault {
            return Err(refusal(class, format!("the test refuses instance {id}")));
        }
        if state.limit.is_some_and(|limit| state.instances.len() >= limit) {
            return Err(refusal(ErrorClass::Capacity, "all places are taken".to_owned()));
        }
        state.next_port += 1;
        state.launches += 1;
        let nowhere = (SocketAddr::from(([127, 0, 0, 1], state.next_port)), id.clone());
        let (agent, server_name) = state.agents.pop_front().unwrap_or(nowhere);
        let launched = Launched {
            id: id.clone(),
            agent,
            server_name,
            needs_claim: self.needs_claim,
            phases: vec![("fake", Duration::ZERO)],
        };
        let instance =
            Instance { launched: launched.clone(), labels: request.labels.clone(), end: watch::Sender::new(None) };
        state.instances.insert(id.clone(), instance);
        if fault == Some(Fault::LoseAnswer) {
            return Err(refusal(ErrorClass::Ambiguous, format!("the answer to the launch of {id} was lost")));
        }
        Ok(launched)
    }
}

fn refusal(class: ErrorClass, message: String) -> DriverError {
    DriverError { class, message, source: None }
}

impl Driver for FakeDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Launched, DriverError>> {
        async move {
            // A real launch takes time, in which other calls come in.
            tokio::task::yield_now().await;
            self.start(request)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        let state = self.state();
        let running = |instance: &Instance| instance.end.borrow().is_none();
        let mut listed: Vec<Listed> = state
            .instances
            .iter()
            .map(|(id, instance)| Listed {
                id: id.clone(),
                running: running(instance),
                labels: instance.labels.clone(),
                launched: running(instance).then(|| instance.launched.clone()),
            })
            .collect();
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        async move { Ok(listed) }.boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let mut state = self.state();
        if let Some(instance) = state.instances.remove(id) {
            instance.end.send_if_modified(|end| {
                let running = end.is_none();
                end.get_or_insert_with(|| "destroyed".to_owned());
                running
            });
            state.ended.insert(id.to_owned());
        }
        async { Ok(()) }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        let end = self.state().instances.get(id).map(|instance| instance.end.subscribe());
        async move {
            let Some(mut end) = end else { return format!("instance {id} does not run") };
            // The sender goes only after it has told the end.
            let told = end.wait_for(Option::is_some).await.map(|end| end.clone());
            told.ok().flatten().unwrap_or_else(|| "gone".to_owned())
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        let known = self.state().instances.contains_key(id);
        async move { if known { format!("console of {id}") } else { String::new() } }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Subject, check};

    fn request(id: &str) -> LaunchRequest {
        LaunchRequest {
            id: id.to_owned(),
            image: "debian".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_gib: 8,
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
        let class = |result: Result<Launched, DriverError>| result.map(|l| l.id).map_err(|e| e.class);
        assert_eq!(class(driver.launch(&request("a")).await), Err(ErrorClass::Throttled));
        assert_eq!(driver.launches(), 0);
        assert_eq!(class(driver.launch(&request("a")).await), Err(ErrorClass::Ambiguous));
        let listed = driver.list().await.expect("list");
        assert_eq!(listed.iter().map(|l| (l.id.as_str(), l.running)).collect::<Vec<_>>(), [("a", true)]);
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
        assert_eq!(driver.ended("a").await, "killed by signal 9");
    }
}
