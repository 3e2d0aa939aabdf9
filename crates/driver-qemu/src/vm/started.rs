//! The command that is started for a QEMU: QEMU itself, or the warden that becomes it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use kiln_driver::user_data::AGENT_PORT;

use crate::host::cgroup::Bounds;
use crate::host::program::{self, Needs};
use crate::vm::confinement::Confinement;
use crate::vm::machine::{Assembled, Guard, Life};
use crate::warden::Orders;

/// What is started.
pub(super) struct Started {
    pub(super) command: Command,
    /// Descriptors that keep their numbers in the child.
    pub(super) inherit: Vec<OwnedFd>,
    pub(super) confinement: Confinement,
    pub(super) bounds: Option<Bounds>,
    /// What the warden is to be told when it runs within its bounds.
    pub(super) orders: Option<TheWarden>,
}

/// A warden that waits for its orders.
pub(super) struct TheWarden {
    orders: Orders,
    stream: UnixStream,
}

impl Started {
    /// A QEMU with a warden is started by it.
    pub(super) fn of(assembled: Assembled, life: Life) -> io::Result<Self> {
        let Assembled { command: qemu, mut inherit, confinement, bounds, guard } = assembled;
        let Some(Guard { warden, network, agent, sign_of_life }) = guard else {
            return Ok(Self { command: qemu, inherit, confinement, bounds, orders: None });
        };
        let (stream, its_end) = UnixStream::pair()?;
        let mut command = program::command(&warden.program, Needs::Nothing);
        command.args(&warden.args).arg(its_end.as_raw_fd().to_string());
        let words = std::iter::once(qemu.get_program()).chain(qemu.get_args());
        let orders = Orders {
            words: words.map(|word| word.to_string_lossy().into_owned()).collect(),
            ids: confinement.ids,
            sign_of_life,
            agent: agent.as_ref().map(OwnedFd::as_raw_fd),
            agent_port: AGENT_PORT,
            network,
            owner: match life {
                Life::Tied => i32::try_from(std::process::id()).ok(),
                Life::Lasting => None,
            },
        };
        inherit.extend(agent);
        inherit.push(OwnedFd::from(its_end));
        Ok(Self { command, inherit, confinement, bounds, orders: Some(TheWarden { orders, stream }) })
    }
}

impl TheWarden {
    /// Tells it what to do, and returns where it tells what goes wrong.
    pub(super) fn tell(self) -> io::Result<UnixStream> {
        self.orders.tell(&self.stream)?;
        Ok(self.stream)
    }
}
