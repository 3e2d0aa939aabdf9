//! Waits outside of a run. Commands that wait for a runner's answer show it on standard error.

use std::future::Future;

use kiln_executor::wait::{Reason, Telling, told};

use crate::ui::summary;

/// Waits for `work`, and says so when it takes long.
pub async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    let tell = |what: &str, waited| eprintln!("{}", summary::waiting(what, waited));
    told(&Telling::default(), &Reason::new(what), tell, work).await
}
