//! Where a run's events go.

use kiln_wire::run::Event;

/// Receives the events of a run. It must not block, or the run waits for it.
pub type Sink<'a> = &'a (dyn Fn(Event) + Send + Sync);
