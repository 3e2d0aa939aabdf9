//! Troubles of the store that all runners share: a full disk, and outages.

use super::world::World;

/// Duration below which a runner may not notice that it cannot use the store.
const NOTICED_MS: i64 = 60_000;
/// A pass that begins before a trouble ends may see rows that are written after it.
const PASS_MS: i64 = 15_000;

/// The store's present troubles.
#[derive(Debug, Default)]
pub struct StoreTrouble {
    full_until_ms: i64,
    down_until_ms: i64,
}

/// Refusals of a runner's calls of the store, as long as they last.
#[derive(Debug, Default)]
pub struct Refused {
    /// Since when none of its writes has succeeded, and why. Writes that needed a reserve do not count as success.
    pub since_ms: Option<(i64, &'static str)>,
    /// End of the latest refusal that it must have noticed.
    pub noticed_until_ms: i64,
}

/// The kind of a call of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It writes an end or a lease, for which a full disk has a reserve.
    End,
}

impl StoreTrouble {
    /// Returns whether the store answers nobody.
    #[must_use]
    pub fn is_down(&self, now_ms: i64) -> bool {
        self.down_until_ms > now_ms
    }

    /// Returns whether the disk is full.
    #[must_use]
    pub fn is_full(&self, now_ms: i64) -> bool {
        self.full_until_ms > now_ms
    }

    /// Ends all troubles.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// Makes the disk of the store full from now on.
    pub fn fill_disk(&mut self, ms: i64) {
        self.say(&format!("fault disk_full for {ms} ms"));
        self.trouble.full_until_ms = self.trouble.full_until_ms.max(self.now_ms() + ms);
    }

    /// Makes the store answer nobody from now on.
    pub fn stop_store(&mut self, ms: i64) {
        self.say(&format!("fault store_outage for {ms} ms"));
        self.trouble.down_until_ms = self.trouble.down_until_ms.max(self.now_ms() + ms);
    }

    /// Returns the duration of a trouble: mostly short, sometimes longer than VMs survive without contact.
    pub(super) fn trouble_ms(&mut self) -> i64 {
        let most = *self.rng.pick(&[20_000, 180_000, 1_200_000, 5_400_000]).unwrap_or(&20_000);
        self.rng.between(1_000, most)
    }

    /// Returns why the store refuses a runner's call now, and how long that takes.
    pub(super) fn refuses(&mut self, runner: usize, touch: Touch) -> Option<(&'static str, i64)> {
        let now = self.now_ms();
        // A database that several runners share is a server, which has no reserve.
        let reserve = self.processes.len() == 1;
        let refused = if self.trouble.is_down(now) {
            ("no connection could be made", 30_000)
        } else if self.trouble.is_full(now) && (touch == Touch::Write || touch == Touch::End && !reserve) {
            ("the disk of the database is full; free some room", 1)
        } else {
            return None;
        };
        if touch != Touch::Read
            && let Some(process) = self.processes.get_mut(runner)
        {
            process.refused.since_ms.get_or_insert((now, refused.0));
        }
        Some(refused)
    }

    /// Records that a runner's write succeeded.
    pub(super) fn wrote(&mut self, runner: usize) {
        let now = self.now_ms();
        if self.trouble.is_full(now) {
            return;
        }
        if let Some(process) = self.processes.get_mut(runner)
            && let Some((since_ms, _)) = process.refused.since_ms.take()
            && now - since_ms >= NOTICED_MS
        {
            process.refused.noticed_until_ms = now;
        }
    }

    /// Returns whether a row can be written that does not end anything.
    #[must_use]
    pub fn can_write(&self) -> bool {
        let now = self.now_ms();
        !self.trouble.is_down(now) && !self.trouble.is_full(now)
    }

    /// Returns whether ends can be written.
    #[must_use]
    pub fn can_end(&self) -> bool {
        self.can_write() || self.processes.len() == 1 && !self.trouble.is_down(self.now_ms())
    }

    /// Returns for how long a runner's process could read and write rows, in milliseconds, at most.
    #[must_use]
    pub fn watched_ms(&self, runner: usize) -> i64 {
        let Some(process) = self.processes.get(runner) else { return 0 };
        let now = self.now_ms();
        let blind = process.refused.since_ms.is_some_and(|(since_ms, _)| now - since_ms >= NOTICED_MS);
        let since_ms = if blind { now } else { process.refused.noticed_until_ms };
        (now - process.started_ms).min(now - since_ms + PASS_MS)
    }
}
