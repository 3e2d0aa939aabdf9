//! The virtual clock, and the tasks that are ready. Nothing really waits: time jumps to the next timer when no task is
//! ready.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

/// A task of the executor.
pub type TaskId = u64;

/// Owner of a task. It dies and pauses with its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A runner's process: its loops, its work, and its requests.
    Runner(usize),
    /// A call of a runner that is in the network.
    Wire(usize),
    /// Clients, operators and the world itself.
    World,
}

/// Work that will become a task.
pub struct Spawned {
    pub(super) id: TaskId,
    pub(super) owner: Owner,
    pub(super) future: BoxFuture<'static, ()>,
}

/// The clock.
#[derive(Default)]
pub struct Clock {
    timers: Mutex<Timers>,
    ready: Mutex<BTreeSet<TaskId>>,
    spawned: Mutex<Vec<Spawned>>,
}

#[derive(Default)]
struct Timers {
    now_ms: i64,
    seq: u64,
    next_task: TaskId,
    due: BTreeMap<(i64, u64), Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clock {
    /// Creates a clock that shows this time.
    #[must_use]
    pub fn new(now_ms: i64) -> Arc<Self> {
        let clock = Self::default();
        lock(&clock.timers).now_ms = now_ms;
        Arc::new(clock)
    }

    /// Returns the true time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        lock(&self.timers).now_ms
    }

    /// Returns after this time, and always after at least one other decision of the scheduler.
    pub fn sleep(self: &Arc<Self>, ms: i64) -> Sleep {
        Sleep { clock: Arc::clone(self), due_ms: self.now_ms() + ms.max(0), key: None }
    }

    /// Makes a task of a future.
    pub fn spawn(&self, owner: Owner, future: BoxFuture<'static, ()>) -> TaskId {
        let id = {
            let mut timers = lock(&self.timers);
            timers.next_task += 1;
            timers.next_task
        };
        lock(&self.spawned).push(Spawned { id, owner, future });
        id
    }

    pub(super) fn take_spawned(&self) -> Vec<Spawned> {
        std::mem::take(&mut lock(&self.spawned))
    }

    pub(super) fn ready(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        lock(&self.ready)
    }

    pub(super) fn waker(self: &Arc<Self>, id: TaskId) -> Waker {
        Waker::from(Arc::new(Alarm { id, clock: Arc::clone(self) }))
    }

    /// Wakes the tasks whose time has come.
    pub(super) fn fire(&self) {
        loop {
            let waker = {
                let mut timers = lock(&self.timers);
                match timers.due.first_key_value() {
                    Some((key, _)) if key.0 <= timers.now_ms => timers.due.pop_first(),
                    _ => None,
                }
            };
            let Some((_, waker)) = waker else { return };
            waker.wake();
        }
    }

    /// Returns when the next timer is due.
    pub(super) fn next_ms(&self) -> Option<i64> {
        lock(&self.timers).due.first_key_value().map(|(key, _)| key.0)
    }

    pub(super) fn advance_to(&self, ms: i64) {
        let mut timers = lock(&self.timers);
        timers.now_ms = timers.now_ms.max(ms);
    }
}

struct Alarm {
    id: TaskId,
    clock: Arc<Clock>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        lock(&self.clock.ready).insert(self.id);
    }
}

/// The future of [`Clock::sleep`].
pub struct Sleep {
    clock: Arc<Clock>,
    due_ms: i64,
    key: Option<(i64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = Arc::clone(&self.clock);
        let mut timers = lock(&clock.timers);
        if let Some(key) = self.key.take() {
            timers.due.remove(&key);
            if timers.now_ms >= self.due_ms {
                return Poll::Ready(());
            }
        }
        timers.seq += 1;
        let key = (self.due_ms, timers.seq);
        timers.due.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // The waker is dropped after the lock is released, because it may own something that needs the clock on
            // drop.
            let waker = lock(&self.clock.timers).due.remove(&key);
            drop(waker);
        }
    }
}
