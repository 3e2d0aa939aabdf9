//! The local driver as every command uses it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_agent_client::Credentials;
use kiln_driver_qemu::{AccelChoice, AgentBinary, Images, Layout, Listener, Ownership, QemuDriver, Settings};
use kiln_tls::Authority;

use crate::args::{Accel, HostArgs};
use crate::home;

/// The name in our client certificates.
const CLIENT_NAME: &str = "kiln";

/// What it takes to make local instances and speak to them.
pub struct Machine {
    /// Makes the instances.
    pub driver: QemuDriver,
    /// The CA that they trust.
    pub authority: Arc<Authority>,
    /// Our own certificate.
    pub credentials: Credentials,
}

impl Machine {
    /// Opens the local driver. `ownership` says whether its VMs outlive this process.
    pub fn open(host: &HostArgs, ownership: &Ownership, listener: Listener) -> anyhow::Result<Self> {
        let layout = home::layout()?;
        let (authority, credentials) = identity(&layout)?;
        let agent = AgentBinary::File(agent_file(host)?);
        let settings = Settings { accel: accel(host.accel), ..Settings::default() };
        let (ca, own) = (Arc::clone(&authority), credentials.clone());
        let driver = QemuDriver::open(layout, ownership, settings, agent, ca, own, listener)?;
        Ok(Self { driver, authority, credentials })
    }
}

/// The image store alone, for commands that start no VM.
pub fn images(settings: Settings, listener: Listener) -> anyhow::Result<Images> {
    Ok(Images::new(home::layout()?, settings, listener))
}

/// This user's CA and a fresh client certificate.
pub fn identity(layout: &Layout) -> anyhow::Result<(Arc<Authority>, Credentials)> {
    let authority = kiln_tls::load_or_create(&layout.state.join("ca"))?;
    let credentials =
        Credentials { ca_pem: authority.ca_pem().to_owned(), client: authority.issue_client(CLIENT_NAME)? };
    Ok((Arc::new(authority), credentials))
}

fn agent_file(host: &HostArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &host.agent {
        anyhow::ensure!(path.is_file(), crate::exit::Usage(format!("--agent {}: no such file", path.display())));
        return Ok(path.clone());
    }
    let program = std::env::current_exe().context("could not find this program's own file")?;
    let beside = program.with_file_name("kiln-agent");
    let missing = format!(
        "kiln-agent is not beside this program ({}); build it with `make build`, or give its place with --agent",
        beside.display()
    );
    anyhow::ensure!(beside.is_file(), missing);
    Ok(beside)
}

fn accel(choice: Accel) -> AccelChoice {
    match choice {
        Accel::Auto => AccelChoice::Auto,
        Accel::Kvm => AccelChoice::Kvm,
        Accel::Tcg => AccelChoice::Tcg,
    }
}
