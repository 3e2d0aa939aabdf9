//! Where a run's events go.

use kiln_mask::Masked;
use kiln_wire::run::Event;

/// Receives the events of a run, whose texts are masked. It must not block, or the run waits for it.
pub type Sink<'a> = &'a (dyn Fn(Masked<Event>) + Send + Sync);
