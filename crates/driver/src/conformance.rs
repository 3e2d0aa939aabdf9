//! What every driver must do, as one function that every driver's tests call.
//!
//! A failed expectation panics with its sentence: this is a test suite that lives in the library so that drivers in other
//! crates can use it.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{Driver, DriverError, ErrorClass, LaunchRequest};

/// How a driver is put through the suite.
pub struct Subject<'a, D> {
    /// The driver.
    pub driver: &'a D,
    /// A request that it can carry out; the suite changes the id.
    pub request: LaunchRequest,
    /// Ends an instance from outside, as a crash would.
    pub crash: &'a (dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync),
    /// The longest that one call may take.
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
}

impl<D: Driver> Subject<'_, D> {
    fn request(&self, id: &str) -> LaunchRequest {
        let mut request = LaunchRequest { id: format!("{}-{id}", self.request.id), ..self.request.clone() };
        request.labels.insert("kiln-conformance".to_owned(), id.to_owned());
        request
    }

    async fn within<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        match tokio::time::timeout(self.limit, work).await {
            Ok(value) => value,
            Err(_) => panic!("{what} took over {:?}", self.limit),
        }
    }

    async fn listed(&self, id: &str) -> Vec<bool> {
        let listed = ok("list", self.within("list", self.driver.list()).await);
        listed.into_iter().filter(|instance| instance.id == id).map(|instance| instance.running).collect()
    }

    async fn destroy(&self, id: &str) {
        ok("destroy", self.within("destroy", self.driver.destroy(id)).await);
        assert_eq!(self.listed(id).await, Vec::<bool>::new(), "{id} is still listed after its destroy was answered");
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

fn ok<T>(what: &str, result: Result<T, DriverError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error}"),
    }
}

async fn life_of_an_instance<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("life");
    let id = &request.id;
    assert_eq!(subject.listed(id).await, Vec::<bool>::new(), "{id} is listed before it was launched");
    subject.destroy("never-launched").await;

    let first = ok("launch", subject.within("launch", subject.driver.launch(&request)).await);
    assert_eq!(&first.id, id, "the answer is about another instance");
    assert_ne!(first.agent.port(), 0, "the agent's port is not known");
    assert!(!first.server_name.is_empty(), "the agent's name is not known");
    assert!(!first.phases.is_empty(), "no phase was timed");
    assert_eq!(subject.listed(id).await, [true], "a launched instance is listed once, as running");
    let listed = ok("list", subject.within("list", subject.driver.list()).await);
    let mine = listed.into_iter().find(|instance| &instance.id == id);
    let (labels, launched) = mine.map(|m| (m.labels, m.launched)).unwrap_or_default();
    assert_eq!(labels, request.labels, "the labels of the launch are not listed");
    assert_eq!(
        launched.map(|l| (l.agent, l.server_name, l.needs_claim)),
        Some((first.agent, first.server_name.clone(), first.needs_claim)),
        "the list does not tell what the launch answered"
    );

    let again = ok("launch again", subject.within("launch", subject.driver.launch(&request)).await);
    assert_eq!(
        (again.agent, again.server_name),
        (first.agent, first.server_name),
        "a repeated launch made another one"
    );
    assert_eq!(subject.listed(id).await, [true], "a repeated launch made another one");

    let quick = tokio::time::timeout(Duration::from_millis(50), subject.driver.ended(id)).await;
    assert!(quick.is_err(), "`ended` returned while the instance runs: {quick:?}");
    let (evidence, ()) =
        subject.within("ended", futures::future::join(subject.driver.ended(id), subject.destroy(id))).await;
    assert!(!evidence.is_empty(), "the end has no evidence");
    subject.destroy(id).await;
    subject.refused("an instance that ended was launched again", &request, &[ErrorClass::Invalid]).await;
}

async fn two_at_once<D: Driver>(subject: &Subject<'_, D>) {
    let (a, b) = (subject.request("a"), subject.request("b"));
    let both = futures::future::join(subject.driver.launch(&a), subject.driver.launch(&b));
    let same = futures::future::join(subject.driver.launch(&a), both);
    let (a_again, (a_first, b_first)) = subject.within("three launches", same).await;
    let (a_again, a_first, b_first) = (ok("launch", a_again), ok("launch", a_first), ok("launch", b_first));
    assert_eq!(a_again.agent, a_first.agent, "two launches of one id at once made two instances");
    assert_ne!(a_first.agent, b_first.agent, "two instances share an address");
    assert_eq!((subject.listed(&a.id).await, subject.listed(&b.id).await), (vec![true], vec![true]));
    subject.destroy(&a.id).await;
    assert_eq!(subject.listed(&b.id).await, [true], "destroying one instance ended another");
    subject.destroy(&b.id).await;
}

async fn refusals_leave_nothing<D: Driver>(subject: &Subject<'_, D>) {
    let image = LaunchRequest { image: "no-such-image".to_owned(), ..subject.request("image") };
    subject.refused("an unknown image", &image, &[ErrorClass::NotFound, ErrorClass::Invalid]).await;
    assert_eq!(subject.listed(&image.id).await.iter().filter(|running| **running).count(), 0);
    subject.destroy(&image.id).await;
    for id in ["", "../x", "UPPER", "a b", "-x", &"x".repeat(300)] {
        let request = LaunchRequest { id: id.to_owned(), ..subject.request.clone() };
        subject.refused("an id that is none", &request, &[ErrorClass::Invalid]).await;
    }
    let cpus = LaunchRequest { cpus: 0, ..subject.request("cpus") };
    subject.refused("no processor", &cpus, &[ErrorClass::Invalid]).await;
    let memory = LaunchRequest { memory_mib: 0, ..subject.request("memory") };
    subject.refused("no memory", &memory, &[ErrorClass::Invalid]).await;
}

async fn end_from_outside<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("crash");
    ok("launch", subject.within("launch", subject.driver.launch(&request)).await);
    (subject.crash)(&request.id).await;
    let evidence = subject.within("ended", subject.driver.ended(&request.id)).await;
    assert!(!evidence.is_empty(), "the end has no evidence");
    assert!(!subject.listed(&request.id).await.contains(&true), "an instance that ended is listed as running");
    subject.destroy(&request.id).await;
}

async fn destroyed_while_starting<D: Driver>(subject: &Subject<'_, D>) {
    let request = subject.request("hasty");
    let destroy = async {
        tokio::task::yield_now().await;
        subject.driver.destroy(&request.id).await
    };
    // Whether the launch wins is left open; what must hold is that nothing stays.
    let (_, destroyed) =
        subject.within("launch and destroy", futures::future::join(subject.driver.launch(&request), destroy)).await;
    ok("destroy", destroyed);
    subject.destroy(&request.id).await;
}
