//! Conformance checks for drivers, as one function that every driver's tests call.
//!
//! A failed expectation panics with its sentence: this is a test suite that lives in the library so that drivers in other
//! crates can use it.

use std::time::Duration;

use futures::future::BoxFuture;

use kiln_pool::{EndKind, Life};
use kiln_wire::reach::Reach;

use crate::{Driver, DriverError, ErrorClass, LaunchRequest, Launched};

/// A driver under test, with the suite's inputs.
pub struct Subject<'a, D> {
    /// The driver.
    pub driver: &'a D,
    /// A request for one instance that it can carry out; the suite changes the token.
    pub request: LaunchRequest,
    /// Ends an instance from outside, as a crash would.
    pub crash: &'a (dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync),
    /// Time limit of one call.
    pub limit: Duration,
}

/// Runs the whole suite. Instances that it starts are ended again.
///
/// # Panics
/// When the driver does not keep the contract.
pub async fn check<D: Driver>(subject: Subject<'_, D>) {
    life_of_an_instance(&subject).await;
    two_at_once(&subject).await;
    refusals_leave_nothing(&subject).await;
    end_from_outside(&subject).await;
    destroyed_while_starting(&subject).await;
    batch(&subject).await;
}

impl<D: Driver> Subject<'_, D> {
    fn request(&self, id: &str) -> LaunchRequest {
        let mut request = LaunchRequest { token: format!("{}-{id}", self.request.token), ..self.request.clone() };
        request.labels.insert("kiln-conformance".to_owned(), id.to_owned());
        request
    }

    async fn within<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        match tokio::time::timeout(self.limit, work).await {
            Ok(value) => value,
            Err(_) => panic!("{what} took over {:?}", self.limit),
        }
    }

    /// Returns, for each entry of the instance in the listing, whether it shows the instance as running.
    async fn listed(&self, id: &str) -> Vec<bool> {
        self.lives(id).await.into_iter().map(|life| life == Life::Running).collect()
    }

    async fn lives(&self, id: &str) -> Vec<Life> {
        let listed = ok("list", self.within("list", self.driver.list()).await);
        listed.into_iter().filter(|instance| instance.id == id).map(|instance| instance.life).collect()
    }

    async fn destroy(&self, id: &str) {
        ok("destroy", self.within("destroy", self.driver.destroy(id)).await);
        let left = self.lives(id).await;
        assert!(!left.iter().any(Life::needs_an_end), "{id} is {left:?} after its destroy was answered");
    }

    async fn launch(&self, request: &LaunchRequest) -> Launched {
        only(ok("launch", self.within("launch", self.driver.launch(request)).await))
    }

    async fn refused(&self, why: &str, request: &LaunchRequest, classes: &[ErrorClass]) {
        match self.within("launch", self.driver.launch(request)).await {
            Ok(launched) => panic!("{why}: it was launched as {launched:?}"),
            Err(error) => {
                assert!(
                    classes.contains(&error.class),
                    "{why}: class {:?}, not one of {classes:?}: {error}",
                    error.class
                );
                assert!(!error.message.is_empty(), "{why}: the error says nothing");
            }
        }
    }
}

fn only(launched: Vec<Launched>) -> Launched {
    match <[Launched; 1]>::try_from(launched) {
        Ok([launched]) => launched,
        Err(several) => panic!("one instance was asked for, and the answer is about {several:?}"),
    }
}

fn ok<T>(what: &str, result: Result<T, DriverError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error}"),
    }
}

async fn life_of_an_instance<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("life");
    let id = &request.token;
    assert_eq!(subject.listed(id).await, Vec::<bool>::new(), "{id} is listed before it was launched");
    subject.destroy("never-launched").await;

    let first = subject.launch(&request).await;
    assert_eq!(&first.id, id, "the answer is about another instance");
    let reach = first.reach.clone();
    assert!(!matches!(&reach, Some(Reach::Ip(address)) if address.port() == 0), "the agent's port is not known");
    assert!(!first.server_name.is_empty(), "the agent's name is not known");
    assert!(!first.phases.is_empty(), "no phase was timed");
    assert_eq!(subject.listed(id).await, [true], "a launched instance is listed once, as running");
    let listed = ok("list", subject.within("list", subject.driver.list()).await);
    let mine = listed.into_iter().find(|instance| &instance.id == id);
    let (labels, launched) = mine.map(|m| (m.labels, m.launched)).unwrap_or_default();
    assert_eq!(labels, request.labels, "the labels of the launch are not listed");
    assert_eq!(
        launched.map(|l| (reach.as_ref().and(l.reach), l.server_name, l.needs_claim)),
        Some((reach.clone(), first.server_name.clone(), first.needs_claim)),
        "the list does not tell what the launch answered"
    );

    let again = subject.launch(&request).await;
    assert_eq!(again.server_name, first.server_name, "a repeated launch made another one");
    assert!(reach.is_none() || again.reach == reach, "a repeated launch made another one");
    assert_eq!(subject.listed(id).await, [true], "a repeated launch made another one");

    let quick = tokio::time::timeout(Duration::from_millis(50), subject.driver.ended(id)).await;
    assert!(quick.is_err(), "`ended` returned while the instance runs: {quick:?}");
    let (end, ()) = subject.within("ended", futures::future::join(subject.driver.ended(id), subject.destroy(id))).await;
    assert!(!end.evidence.is_empty(), "the end has no evidence");
    subject.destroy(id).await;
    subject.refused("an instance that ended was launched again", &request, &[ErrorClass::Invalid]).await;
}

async fn two_at_once<D: Driver>(subject: &Subject<'_, D>) {
    let (a, b) = (subject.request("a"), subject.request("b"));
    let both = futures::future::join(subject.driver.launch(&a), subject.driver.launch(&b));
    let same = futures::future::join(subject.driver.launch(&a), both);
    let (a_again, (a_first, b_first)) = subject.within("three launches", same).await;
    let [a_again, a_first, b_first] = [a_again, a_first, b_first].map(|answer| only(ok("launch", answer)).reach);
    assert_eq!(a_again, a_first, "two launches of one token at once made two instances");
    assert!(a_first.is_none() || a_first != b_first, "two instances share an address");
    assert_eq!((subject.listed(&a.token).await, subject.listed(&b.token).await), (vec![true], vec![true]));
    subject.destroy(&a.token).await;
    assert_eq!(subject.listed(&b.token).await, [true], "destroying one instance ended another");
    subject.destroy(&b.token).await;
}

async fn refusals_leave_nothing<D: Driver>(subject: &Subject<'_, D>) {
    let image = LaunchRequest { image: "no-such-image".to_owned(), ..subject.request("image") };
    subject.refused("an unknown image", &image, &[ErrorClass::NotFound, ErrorClass::Invalid]).await;
    assert_eq!(subject.listed(&image.token).await.iter().filter(|running| **running).count(), 0);
    subject.destroy(&image.token).await;
    for id in ["", "../x", "UPPER", "a b", "-x", &"x".repeat(300)] {
        let request = LaunchRequest { token: id.to_owned(), ..subject.request.clone() };
        subject.refused("a token that is none", &request, &[ErrorClass::Invalid]).await;
    }
    let cpus = LaunchRequest { cpus: 0, ..subject.request("cpus") };
    subject.refused("no processor", &cpus, &[ErrorClass::Invalid]).await;
    let memory = LaunchRequest { memory_mib: 0, ..subject.request("memory") };
    subject.refused("no memory", &memory, &[ErrorClass::Invalid]).await;
    for count in [0, subject.driver.abilities().batch_max + 1] {
        let batch = LaunchRequest { count, ..subject.request("count") };
        subject.refused("a batch of a size that the driver does not make", &batch, &[ErrorClass::Invalid]).await;
    }
}

async fn end_from_outside<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("crash");
    subject.launch(&request).await;
    (subject.crash)(&request.token).await;
    let end = subject.within("ended", subject.driver.ended(&request.token)).await;
    assert!(!end.evidence.is_empty(), "the end has no evidence");
    assert_ne!(end.kind, EndKind::Destroyed, "nobody destroyed it");
    assert!(!subject.listed(&request.token).await.contains(&true), "an instance that ended is listed as running");
    subject.destroy(&request.token).await;
}

async fn destroyed_while_starting<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("hasty");
    let destroy = async {
        tokio::task::yield_now().await;
        subject.driver.destroy(&request.token).await
    };
    // Either call may win. No instance must remain.
    let (_, destroyed) =
        subject.within("launch and destroy", futures::future::join(subject.driver.launch(&request), destroy)).await;
    ok("destroy", destroyed);
    subject.destroy(&request.token).await;
}

/// Checks a batch, where the driver makes batches.
async fn batch<D: Driver>(subject: &Subject<'_, D>) {
    let count = subject.driver.abilities().batch_max.min(3);
    let request = LaunchRequest { count, ..subject.request("batch") };
    let ids: Vec<String> = request.ids().collect();
    let made = ok("launch", subject.within("launch", subject.driver.launch(&request)).await);
    let told: Vec<&str> = made.iter().map(|launched| launched.id.as_str()).collect();
    assert_eq!(told, ids, "a batch has other ids than its token gives");
    let again = ok("launch again", subject.within("launch", subject.driver.launch(&request)).await);
    assert_eq!(again.len(), made.len(), "a repeated batch made more");
    for id in &ids {
        assert_eq!(subject.listed(id).await, [true], "each instance of a batch is listed once");
        subject.destroy(id).await;
    }
}
