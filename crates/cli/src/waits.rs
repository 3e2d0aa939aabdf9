//! Waits outside of a run: whoever waits for a runner's answer sees that, on standard error.

use std::future::Future;

use kiln_executor::wait::{Reason, Telling, told};

use crate::ui::summary;

/// Waits for `work`, and says so when that lasts.
pub async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    let tell = |what: &str, waited| eprintln!("{}", summary::waiting(what, waited));
    told(&Telling::default(), &Reason::new(what), tell, work).await
}
