//! Work that is shared by all callers who ask for it while it runs, and that continues when they all disconnect.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use super::reply::Refusal;

/// Most concurrent works. The number of connections does not limit it, because a work continues without its callers.
const AT_ONCE: usize = 20_000;

/// The running works, by key.
pub(super) struct Flights<T> {
    open: Arc<Mutex<HashMap<String, Shared<BoxFuture<'static, T>>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { open: Arc::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<Result<T, Refusal>> {
    /// Returns the running work of this key. If there is none, starts `work`.
    pub(super) fn join(
        &self,
        key: String,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Shared<BoxFuture<'static, Result<T, Refusal>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joined) = open.get(&key) {
            return joined.clone();
        }
        if open.len() >= AT_ONCE {
            let message = format!("{AT_ONCE} requests are already under way; try again when some of them are done");
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message);
            return async { Err(refusal) }.boxed().shared();
        }
        let started = guarded(work).boxed().shared();
        open.insert(key.clone(), started.clone());
        tokio::spawn(land(Arc::clone(&self.open), key, started.clone()));
        started
    }
}

async fn land<T: Clone>(
    open: Arc<Mutex<HashMap<String, Shared<BoxFuture<'static, T>>>>>,
    key: String,
    work: Shared<BoxFuture<'static, T>>,
) {
    work.await;
    open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
}

/// Turns a panic of the work into an answer for its callers.
async fn guarded<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Refusal::internal("the runner has a defect: this request made it panic; see its log")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_and_without_its_caller() {
        let (flights, runs) = (Flights::default(), Arc::new(AtomicU32::new(0)));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let work = || {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                drop(gate.acquire().await);
                Ok::<u32, Refusal>(run)
            }
        };
        // The first caller disconnects.
        assert!(flights.join("a".into(), work()).now_or_never().is_none());
        let joined = flights.open.lock().expect("lock")["a"].clone();
        let second = tokio::spawn(joined);
        gate.add_permits(1);
        assert_eq!(second.await.expect("no panic").expect("an answer"), 0);
        while !flights.open.lock().expect("lock").is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(flights.join("a".into(), work()).await.expect("an answer"), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let flights = Flights::default();
        let answer: Result<(), Refusal> = flights.join("a".into(), async { panic!("a defect") }).await;
        assert_eq!(answer.expect_err("a refusal").status, 500);
    }
}
