//! The drivers of this program, and their creation. Nothing else in this crate names them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_driver::Driver;
use kiln_driver_qemu::{AccelChoice, AgentBinary, Images, Listener, Ownership, QemuDriver, QemuSection, Settings};
use kiln_pool::{Config, SiteId};
use kiln_pool_file::Section;
use kiln_wire::reach::Reach;

use crate::args::{Accel, HostArgs};
use crate::exit::Usage;
use crate::home::{self, Layout};
use crate::identity::Identity;

/// The name of the driver of local VMs in pool files.
pub const LOCAL: &str = kiln_driver_qemu::NAME;
/// Each driver's section of the pool file.
pub const SECTIONS: [&dyn Section; 1] = [&QemuSection];

/// Creates drivers.
pub struct Drivers<'a> {
    /// The folders.
    pub layout: &'a Layout,
    /// Settings of this machine for local VMs.
    pub host: &'a HostArgs,
    /// Whether local VMs outlive this process.
    pub ownership: Ownership,
    /// The identity that instances trust.
    pub identity: &'a Identity,
    /// Receives the progress of work.
    pub listener: Listener,
}

impl Drivers<'_> {
    /// Returns the driver of local VMs, for a caller that is about to start some.
    pub fn local(&self) -> anyhow::Result<QemuDriver> {
        self.open_local(agent_file(self.host)?)
    }

    /// Returns every driver, by its site. Only what the pools of `config` need has to be installed. The driver of local
    /// VMs is always opened, because VMs of a former pool file may run and a pool may be added later; but that takes
    /// neither QEMU nor the agent.
    pub fn all(&self, config: &Config) -> anyhow::Result<BTreeMap<SiteId, Arc<dyn Driver>>> {
        let needs_local = config.pools.values().any(|pool| pool.driver == LOCAL);
        let agent = if needs_local { agent_file(self.host)? } else { agent_place(self.host)? };
        let local = self.open_local(agent)?;
        Ok(BTreeMap::from([(local.site(), Arc::new(local) as Arc<dyn Driver>)]))
    }

    fn open_local(&self, agent: PathBuf) -> anyhow::Result<QemuDriver> {
        let Identity { authority, credentials } = self.identity.clone();
        let settings = Settings {
            accel: accel(self.host.accel),
            disk_reserve_mib: self.host.disk_reserve,
            disk_watermark_mib: self.host.disk_watermark,
            memory_overcommit: self.host.memory_overcommit,
            docker_config: home::docker_config(),
            ..Settings::default()
        };
        let (layout, agent, listener) = (self.layout.qemu(), AgentBinary::File(agent), Arc::clone(&self.listener));
        Ok(QemuDriver::open(layout, &self.ownership, settings, agent, authority, credentials, listener)?)
    }
}

/// Returns the image store alone, for commands that start no VM.
pub fn images(settings: Settings, listener: Listener) -> anyhow::Result<Images> {
    Ok(Images::new(home::layout()?.qemu(), settings, listener))
}

/// Runs the warden of a local VM if that is what this program was started for. Only Kiln starts it so.
pub fn as_warden(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    args.next().is_some_and(|word| word == kiln_driver_qemu::WARDEN).then(|| kiln_driver_qemu::warden(args))
}

/// Returns a VM of an earlier process that is not isolated, and so reaches services on this machine's loopback. The agent of
/// one that is listens at a socket of its own, not on loopback.
pub async fn reaching_loopback(drivers: &BTreeMap<SiteId, Arc<dyn Driver>>) -> anyhow::Result<Option<String>> {
    for (_, driver) in drivers.iter().filter(|(site, _)| site.driver() == LOCAL) {
        let launched = driver.list().await?.into_iter().filter_map(|listed| listed.launched);
        let mut open = launched.filter(|launched| matches!(launched.reach, Some(Reach::Ip(_))));
        if let Some(open) = open.next() {
            return Ok(Some(open.id));
        }
    }
    Ok(None)
}

fn agent_place(host: &HostArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &host.agent {
        return Ok(path.clone());
    }
    let program = std::env::current_exe().context("could not find this program's own file")?;
    Ok(program.with_file_name("kiln-agent"))
}

fn agent_file(host: &HostArgs) -> anyhow::Result<PathBuf> {
    let path = agent_place(host)?;
    if host.agent.is_some() {
        anyhow::ensure!(path.is_file(), Usage(format!("--agent {}: no such file", path.display())));
    }
    let missing = format!(
        "there is no kiln-agent beside this program ({}); build it with `make build`, or name it with --agent",
        path.display()
    );
    anyhow::ensure!(path.is_file(), missing);
    Ok(path)
}

/// How VMs run, in the driver's words.
pub fn accel(choice: Accel) -> AccelChoice {
    match choice {
        Accel::Auto => AccelChoice::Auto,
        Accel::Kvm => AccelChoice::Kvm,
        Accel::Tcg => AccelChoice::Tcg,
    }
}

#[cfg(test)]
mod tests {
    use kiln_driver_qemu::limits::DEFAULT_SHAPE;

    use super::*;

    /// A runner without local pools starts on a machine that has neither the agent nor QEMU.
    #[tokio::test]
    async fn what_no_pool_needs_may_be_missing() {
        kiln_tls::install_provider();
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::below(dir.path());
        let identity = Identity::of(&layout).expect("an identity");
        let host = HostArgs {
            accel: Accel::Auto,
            agent: Some(dir.path().join("no-agent")),
            disk_reserve: 1,
            disk_watermark: 1,
            memory_overcommit: 1.0,
        };
        let open = |name: &str, driver: &str| {
            let mut pool = kiln_driver_qemu::pool("a", "debian", DEFAULT_SHAPE, 1);
            driver.clone_into(&mut pool.driver);
            let config = Config { pools: BTreeMap::from([("a".to_owned(), pool)]), ..Config::default() };
            let (ownership, listener) = (Ownership::Named(name.to_owned()), Arc::new(|_| {}));
            Drivers { layout: &layout, host: &host, ownership, identity: &identity, listener }.all(&config)
        };
        let drivers = open("elsewhere", "cloud").expect("nothing local is needed");
        let (site, local) = drivers.first_key_value().expect("the site of local VMs");
        assert_eq!((drivers.len(), site.driver()), (1, LOCAL));
        assert_eq!(local.list().await.expect("a list"), []);
        let error = open("here", LOCAL).err().expect("the agent is needed").to_string();
        assert!(error.contains("no-agent: no such file"), "{error}");
    }
}
