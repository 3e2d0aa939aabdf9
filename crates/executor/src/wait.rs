//! Tells of waits that last, so that no mode of showing a run is silent for long. Everything that a run waits for on its own behalf,
//! and not for a step's program, is waited for here.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_wire::run::Event;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::context::Context;
use crate::stage_context::StageContext;

/// When a wait is told.
#[derive(Debug, Clone)]
pub struct Telling {
    /// How long a wait lasts before it is told.
    pub after: Duration,
    /// How long after that it is told again, unless something else is waited for before.
    pub again_after: Duration,
}

impl Default for Telling {
    fn default() -> Self {
        Self { after: Duration::from_secs(2), again_after: Duration::from_secs(30) }
    }
}

/// What is waited for, in words that follow "waiting for". It may change while the wait lasts.
pub struct Reason(watch::Sender<String>);

impl Reason {
    /// Returns a reason.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(watch::Sender::new(what.into()))
    }

    /// Changes what is waited for.
    pub fn set(&self, what: String) {
        self.0.send_if_modified(|before| {
            let is_new = *before != what;
            *before = what;
            is_new
        });
    }
}

/// Returns what `work` returns. While it lasts, `tell` is given what is waited for and for how long: once it has lasted a while, then
/// each time the reason changes, and now and then.
pub async fn told<T>(
    telling: &Telling,
    reason: &Reason,
    tell: impl Fn(&str, Duration),
    work: impl Future<Output = T>,
) -> T {
    let began = Instant::now();
    let mut reasons = reason.0.subscribe();
    let teller = async {
        tokio::time::sleep(telling.after).await;
        loop {
            let what = reasons.borrow_and_update().clone();
            tell(&what, began.elapsed());
            // Either is a cause to tell it again.
            drop(tokio::time::timeout(telling.again_after, reasons.changed()).await);
        }
    };
    let teller = async {
        let never: Infallible = teller.await;
        never
    };
    tokio::select! {
        biased;
        done = work => done,
        never = teller => match never {},
    }
}

impl Context<'_> {
    /// Waits for `work`, and tells the sink when that lasts. Both are boxed, because much is waited for within much else.
    pub(crate) fn wait<'w, T: Send + 'w>(
        &'w self,
        (stage, step): (&'w str, Option<&'w str>),
        reason: &'w Reason,
        work: impl Future<Output = T> + Send + 'w,
    ) -> BoxFuture<'w, T> {
        let tell = move |what: &str, waited| {
            let (stage, step, what) = (stage.to_owned(), step.map(str::to_owned), what.to_owned());
            self.tell(Event::Waiting { stage, step, what, waited });
        };
        told(&self.options.patience.telling, reason, tell, work.boxed()).boxed()
    }

    /// Waits for `work` as [`Context::wait`] does, for one reason.
    pub(crate) fn wait_for<'w, T: Send + 'w>(
        &'w self,
        place: (&'w str, Option<&'w str>),
        what: &'w str,
        work: impl Future<Output = T> + Send + 'w,
    ) -> BoxFuture<'w, T> {
        let work = work.boxed();
        async move { self.wait(place, &Reason::new(what), work).await }.boxed()
    }
}

impl StageContext<'_> {
    /// Waits for something that the stage needs, and tells the sink when that lasts.
    pub(crate) fn wait<'w, T: Send + 'w>(
        &'w self,
        what: &'w str,
        work: impl Future<Output = T> + Send + 'w,
    ) -> BoxFuture<'w, T> {
        self.run.wait_for((self.id, None), what, work)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_told_when_it_lasts_when_its_reason_changes_and_now_and_then() {
        let (reason, heard) = (Reason::new("one"), RefCell::new(Vec::new()));
        let begun = Instant::now();
        let tell = |what: &str, _| heard.borrow_mut().push((begun.elapsed().as_secs(), what.to_owned()));
        let work = async {
            tokio::time::sleep(seconds(1)).await;
            reason.set("two".to_owned());
            tokio::time::sleep(seconds(4)).await;
            reason.set("two".to_owned());
            reason.set("three".to_owned());
            tokio::time::sleep(seconds(70)).await;
            7
        };
        assert_eq!(told(&Telling::default(), &reason, tell, work).await, 7);
        let expect = [(2, "two"), (5, "three"), (35, "three"), (65, "three")];
        assert_eq!(heard.into_inner(), expect.map(|(at, what)| (at, what.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_not_told() {
        let tell = |what: &str, _| panic!("told {what}");
        told(&Telling::default(), &Reason::new("one"), tell, tokio::time::sleep(Duration::from_millis(1900))).await;
    }
}
