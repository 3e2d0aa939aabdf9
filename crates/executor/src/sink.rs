//! The receiver of a run's events.

use kiln_mask::Masked;
use kiln_wire::run::Event;

/// Receives the events of a run, whose texts are masked. While it blocks, the run waits.
pub type Sink<'a> = &'a (dyn Fn(Masked<Event>) + Send + Sync);
