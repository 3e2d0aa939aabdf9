//! Steps in containers: not yet.
//!
//! Their place is here, behind the same seam as the host's processes: `start` pulls the image, creates the container
//! with the step's environment, volumes and hand-over files, attaches, and copies what comes into a pipe that the
//! supervision reads (`crate::os::output`); `ended` is the engine's wait, `end` its kill, and `memory_ran_out` what
//! its inspection says.

use futures::future::{BoxFuture, ready};

use crate::ending::Wish;
use crate::supervise::{Left, Order, Runtime, StartError, Started};

/// The container engine of the machine.
#[derive(Debug, Default)]
pub(crate) struct Containers;

/// A step that was not started.
#[derive(Debug, thiserror::Error)]
#[error("container steps are not supported by this agent yet")]
struct NotYet;

impl Runtime for Containers {
    fn start<'a>(&'a self, _order: &'a Order<'a>) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(ready(Err(NotYet.into())))
    }

    fn end_all(&self, _wish: Wish) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn end_left<'a>(&'a self, _left: &'a Left<'a>, _wish: Wish) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }
}
