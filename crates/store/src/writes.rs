//! The state of a database's writes, and which of them may use the room that is reserved for ends.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kiln_engine::world::WriteTrouble;

use crate::fault::Fault;
use crate::reserve::Reserve;

/// The room that a transaction may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Only free room.
    Free,
    /// The reserve as well. It is for ends and leases.
    Reserve,
}

/// The state of a database's writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    reserve: Option<Reserve>,
    /// Since when no write has succeeded, with the latest error; none while writes succeed.
    trouble: Mutex<Option<(Instant, String)>>,
}

impl Writes {
    /// Starts without trouble.
    pub(crate) fn new(reserve: Option<Reserve>) -> Self {
        Self { reserve, ..Self::default() }
    }

    /// Refuses a transaction that would use up the room reserved for ends.
    pub(crate) fn may_begin(&self, room: Room) -> Result<(), Fault> {
        if self.is_short() && room == Room::Free { Err(Fault::Full) } else { Ok(()) }
    }

    fn is_short(&self) -> bool {
        self.reserve.as_ref().is_some_and(Reserve::is_spent)
    }

    /// Notes the outcome of a step of a transaction, and returns it. A full disk spends the reserve.
    pub(crate) fn note<T>(&self, step: Result<T, Fault>) -> Result<T, Fault> {
        let fault = match step {
            Err(fault) if fault.is_full() => Fault::Full,
            Err(fault) if !fault.is_conflict() => fault,
            fine => return fine,
        };
        if fault.is_full()
            && let Some(reserve) = &self.reserve
        {
            reserve.spend();
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *trouble = Some((since, fault.to_string()));
        Err(fault)
    }

    /// Records a commit. A commit that needed the reserve does not end the trouble.
    pub(crate) fn note_commit(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() && !self.is_short() {
            *trouble = None;
        }
    }

    /// Returns the present trouble, if any.
    pub(crate) fn trouble(&self) -> Option<WriteTrouble> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(since, why)| WriteTrouble { lasts: since.elapsed(), why: why.clone() })
    }
}
