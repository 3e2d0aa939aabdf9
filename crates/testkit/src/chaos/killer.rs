//! The runner's process, and its deaths.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::Shared;
use crate::sim::rng::Rng;

/// Longest wait of a kill for its events. After it the kill happens without them.
const EVENTS_WITHIN: Duration = Duration::from_secs(10);
/// Share of the kills, in a thousand, that follow an event; the others follow a start.
const AFTER_EVENT_PER_MILLE: u32 = 600;
/// Longest delay of a kill after its event.
const AFTER_EVENT: Duration = Duration::from_millis(60);
/// Time within which a runner must end after it was told to.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A running runner.
pub(super) struct Runner {
    child: Child,
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    fn start(shared: &Shared, address: SocketAddr) -> anyhow::Result<Self> {
        let mut command = (shared.plan.runner)(address);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("its status")
    }

    /// Asks it to end in good order.
    pub(super) async fn terminate(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(pid, Signal::TERM).context("the runner has ended by itself")?;
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                anyhow::ensure!(status.success(), "the runner ended with {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the runner did not end within {} s of SIGTERM", END_WITHIN.as_secs())
    }
}

/// Kills it as often as planned, and returns the last runner.
pub(super) async fn kill(shared: &Shared, address: SocketAddr, mut rng: Rng) -> anyhow::Result<Runner> {
    let mut runner = Runner::start(shared, address)?;
    let latest_ms = u64::try_from(shared.plan.latest_kill.as_millis()).unwrap_or(u64::MAX);
    for kill in 0..shared.plan.kills {
        let mut events = shared.events.subscribe();
        let before = *events.borrow_and_update();
        if rng.chance(AFTER_EVENT_PER_MILLE) {
            let nth = before + 1 + rng.below(shared.plan.events_between);
            // If they do not arrive in time it is killed anyway.
            drop(tokio::time::timeout(EVENTS_WITHIN, events.wait_for(|count| *count >= nth)).await);
            tokio::time::sleep(AFTER_EVENT.mul_f64(rng.below(1000) as f64 / 1000.0)).await;
        } else {
            tokio::time::sleep(Duration::from_millis(rng.below(latest_ms + 1))).await;
        }
        if let Some(status) = runner.ended()? {
            anyhow::bail!("the runner ended by itself before kill {kill}: {status}");
        }
        let in_flight = usize::try_from(shared.in_flight.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let silent = *shared.events.borrow() == before;
        // This sends SIGKILL, and its memory is gone afterwards.
        drop(runner);
        shared.tally(|tally| {
            tally.kills += 1;
            tally.kills_before_answer += u32::from(silent);
            tally.least_in_flight = tally.least_in_flight.min(in_flight);
        });
        runner = Runner::start(shared, address)?;
    }
    Ok(runner)
}
