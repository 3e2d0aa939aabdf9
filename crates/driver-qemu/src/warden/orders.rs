//! What Kiln tells a warden, and what it hears of one that fails.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use kiln_pool::Network;
use serde::{Deserialize, Serialize};

use crate::host::ids::Ids;

/// How the lines begin that a warden writes among QEMU's errors.
pub(crate) const TOLD: &str = "kiln: ";

/// What a warden is told, as JSON until the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// QEMU and its arguments.
    pub(crate) words: Vec<String>,
    /// Who QEMU and the warden are; none: whoever started them.
    pub(crate) ids: Option<Ids>,
    /// What says as long as it is open that the VM lives: the warden keeps it too.
    pub(crate) sign_of_life: Option<RawFd>,
    /// The socket on which the warden listens for whoever wants to speak to the agent.
    pub(crate) agent: Option<RawFd>,
    /// The port of the VM's loopback that leads to the agent.
    pub(crate) agent_port: u16,
    /// What is open to the VM.
    pub(crate) network: Network,
    /// The process that QEMU is to end with.
    pub(crate) owner: Option<i32>,
}

impl Orders {
    /// Tells them to a warden. They fit into what the kernel holds for it.
    pub(crate) fn tell(&self, mut to: &UnixStream) -> io::Result<()> {
        to.write_all(&serde_json::to_vec(self)?)?;
        to.shutdown(Shutdown::Write)
    }

    /// Hears them. Whoever is to tell them may have died.
    pub(super) fn hear(mut from: &UnixStream) -> io::Result<Self> {
        let mut text = Vec::new();
        from.read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Why a VM does not run under a warden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// What this host lacks, or what failed, and how to mend it.
    pub(crate) text: String,
    /// Whether this host cannot isolate VMs at all.
    pub(crate) lacking: bool,
}

impl Trouble {
    /// Tells it to Kiln.
    pub(super) fn tell(&self, mut to: &UnixStream) {
        // Kiln may be gone, or hear of it by the end of the process alone.
        let _ = serde_json::to_vec(self).map(|text| to.write_all(&text));
    }

    /// Hears what a warden that has ended had to tell, if anything. Does not wait.
    pub(crate) fn heard(mut from: &UnixStream) -> Option<Self> {
        const LONGEST_BYTES: usize = 16 * 1024;
        from.set_nonblocking(true).ok()?;
        let mut text = vec![0; LONGEST_BYTES];
        let read = from.read(&mut text).ok()?;
        // Each half may have told something; the first is the reason of the second.
        serde_json::Deserializer::from_slice(&text[..read]).into_iter().next()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_trouble_are_heard_as_they_are_told() {
        let (kiln, warden) = UnixStream::pair().expect("a pair");
        let orders = Orders {
            words: vec!["qemu".to_owned(), "-name".to_owned()],
            ids: Some(Ids { uid: 7, gid: 8 }),
            sign_of_life: Some(4),
            agent: None,
            agent_port: 9079,
            network: Network::default(),
            owner: Some(1),
        };
        orders.tell(&kiln).expect("told");
        assert_eq!(Orders::hear(&warden).expect("heard"), orders);
        assert_eq!(Trouble::heard(&kiln), None, "there is none yet");
        let trouble = Trouble { text: "no".to_owned(), lacking: true };
        trouble.tell(&warden);
        Trouble { text: "so what".to_owned(), lacking: false }.tell(&warden);
        assert_eq!(Trouble::heard(&kiln), Some(trouble));
        drop(warden);
        assert_eq!(Trouble::heard(&kiln), None);
    }
}
