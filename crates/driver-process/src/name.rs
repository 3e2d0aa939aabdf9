//! Names of processes that no other process ever has.

use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::{proc, unix};

/// A process. A pid alone is reused after its process has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub(crate) pid: u32,
    /// In clock ticks since the boot of the machine.
    pub(crate) start_time: u64,
    pub(crate) boot_id: String,
}

impl ProcessName {
    /// Returns the process with this pid; none when it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: proc::stat(pid)?.start_time, boot_id: proc::boot_id() })
    }

    /// Tells whether exactly this process lives.
    pub(crate) fn lives(&self) -> bool {
        proc::stat(self.pid).map(|stat| stat.start_time) == Some(self.start_time) && proc::boot_id() == self.boot_id
    }

    /// Sends a signal through a descriptor, which always refers to the same process.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.raw()
            && let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
            && self.lives()
        {
            // It may have ended meanwhile. The caller looks.
            let _ = pidfd_send_signal(fd, signal);
        }
    }

    /// Returns when the process has ended. It need not be a child of this one.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let fd = match pidfd_open(self.raw().ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::NONBLOCK) {
            Ok(fd) => unix::readable(fd)?,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.lives() {
            fd.readable().await?.retain_ready();
        }
        Ok(())
    }

    fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}
