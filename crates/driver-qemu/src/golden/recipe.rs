//! Golden VMs: booted once, saved when at rest, the origin of every clone.
//!
//! ```text
//! absent ──(exclusive lock)──► building ──► saved (rename) ──(shared lock while in use)──► pruned
//!                                 └─ any failure: the half-made directory is removed
//! ```

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kiln_agent_client::{Agent, Credentials};
use kiln_driver::user_data::{AGENT_PORT, SETTLED_LINE, UserData};
use kiln_pool::Network;
use kiln_tls::Authority;
use kiln_wire::reach::Reach;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::containers::Wish;
use crate::error::QemuError;
use crate::golden::saved::Golden;
use crate::golden::seed::Seed;
use crate::golden::shelf::{self, Newcomer, Record};
use crate::host::aside;
use crate::host::files::{self, hex, private_dir};
use crate::host::lock;
use crate::host::proc;
use crate::host::program;
use crate::host::room::{self, Host, Promised};
use crate::images::Image;
use crate::paths::Layout;
use crate::progress::{Listener, Task};
use crate::settings::Settings;
use crate::vm::accel::Accel;
use crate::vm::binary::Binary;
use crate::vm::confinement::Confinement;
use crate::vm::machine::{DirectKernel, KERNEL_LINE, Life, Link, Machine, Role, Shape};
use crate::vm::monitor::AGENT_SOCKET;
use crate::vm::qemu::Vm;
use crate::vm::qmp::Qmp;

/// Changes whenever a golden VM made by an older version of this code must not be used.
const FORMAT: u32 = 2;
/// After the agent answers, the boot may take this much longer to come to rest.
const SETTLE_LIMIT: Duration = Duration::from_secs(240);
/// How long an image without a serial console is given to come to rest after its agent answers.
const SILENT_REST: Duration = Duration::from_secs(60);
/// Saving half a megabyte of state.
const SAVE_LIMIT: Duration = Duration::from_secs(60);
/// What a boot writes to the disk, at most, and some room for others.
const BOOT_WRITES_BYTES: u64 = 1 << 30;
/// Pause between two health checks of a booting VM, whose processor they would only slow down.
const HEALTH_PAUSE: Duration = Duration::from_millis(500);

/// What a golden VM is made from.
pub(crate) struct Recipe<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) settings: &'a Settings,
    pub(crate) listener: &'a Listener,
    pub(crate) authority: &'a Authority,
    pub(crate) credentials: &'a Credentials,
    pub(crate) agent: &'a [u8],
    pub(crate) accel: Accel,
    pub(crate) binary: &'a Binary,
    pub(crate) image: &'a Image,
    pub(crate) shape: Shape,
    /// What a pool wants in it. The container images are in the image already.
    pub(crate) wish: &'a Wish,
    /// Openings of the VM while it boots. Clones have their own, from their launch.
    pub(crate) network: Network,
}

/// A clone that nobody claims powers itself off after this.
const UNCLAIMED_LEASE: Duration = Duration::from_secs(3600);

impl Recipe<'_> {
    /// Returns the saved golden VM of this recipe; boots and saves it first if there is none. Two processes that want the same one
    /// build it once.
    pub(crate) async fn ensure(&self) -> Result<Golden, QemuError> {
        let goldens = self.layout.goldens();
        private_dir(&goldens)?;
        let key = self.key();
        let dir = goldens.join(&key);
        let lock_path = shelf::lock_path(self.layout, &key);
        let mut handover = None;
        loop {
            let shared = lock::shared(&lock_path, self.listener, "the golden VM").await?;
            drop(handover.take());
            if let Some(record) = Record::read(&dir) {
                shelf::touch(&shared);
                let machine = self.machine(&dir, &record.server_name);
                return Ok(Golden {
                    warden: self.settings.warden.clone(),
                    server_name: record.server_name,
                    key,
                    machine,
                    dir,
                    proven: AtomicBool::new(false),
                    in_use: shared,
                });
            }
            drop(shared);
            let exclusive = lock::exclusive(&lock_path, self.listener, "the golden VM").await?;
            if Record::read(&dir).is_none() {
                self.build(&key, &dir).await?;
                let ca = &self.authority.fingerprint();
                let name = &self.name();
                let newcomer = Newcomer { key: &key, image: name, shape: self.shape, ca };
                shelf::prune(self.layout, newcomer);
            }
            // Between the two locks of this builder another process might find it unused, and remove it.
            let path = shelf::handover_path(self.layout);
            handover = Some(lock::shared(&path, self.listener, "golden VMs").await?);
            drop(exclusive);
        }
    }

    /// Returns what it has in common with those that it replaces.
    fn name(&self) -> String {
        match *self.wish == Wish::default() {
            true => self.image.name.clone(),
            false => format!("{} {}", self.image.name, self.wish.to_spec()),
        }
    }

    /// Returns a digest of everything that the saved state depends on.
    fn key(&self) -> String {
        let user_data = self.user_data("", "", "").render().unwrap_or_default();
        let mut parts = json!([
            FORMAT,
            self.image.identity(),
            self.image.kernel,
            self.layout.cache,
            self.authority.fingerprint(),
            self.accel,
            self.binary.version,
            self.shape,
            KERNEL_LINE,
            user_data,
            self.settings.firmware,
        ]);
        // The guest has the host's processor then, whose features change with microcode and kernel. A state that was saved with
        // others may load and fail later.
        if let (Accel::Kvm, Some(parts)) = (self.accel, parts.as_array_mut()) {
            parts.push(proc::processor().into());
        }
        hex(&Sha256::digest(parts.to_string().as_bytes()))[..24].to_owned()
    }

    fn user_data(&self, ca: &str, cert: &str, key: &str) -> UserData {
        UserData {
            ca_pem: ca.to_owned(),
            server_cert_pem: cert.to_owned(),
            server_key_pem: key.to_owned(),
            agent_sha256: hex(&Sha256::digest(self.agent)),
            agent_url: None,
            // For a clone whose owner ended before it gave it an identity, which brings a lease of its own.
            lease: Some(UNCLAIMED_LEASE),
            max_age: None,
            // Steps inherit the agent's environment.
            agent_env: self.settings.agent_env.clone().into_iter().chain(self.wish.environment()).collect(),
            engine: self.wish.engine(),
        }
    }

    fn machine(&self, dir: &Path, server_name: &str) -> Machine {
        let kernel = self.image.kernel.then(|| DirectKernel {
            kernel: self.image.kernel_file(),
            initrd: self.image.initrd_file(),
            line: KERNEL_LINE.to_owned(),
        });
        Machine {
            qemu: self.settings.qemu.clone(),
            name: server_name.to_owned(),
            accel: self.accel,
            cpus: self.shape.cpus,
            memory_mib: self.shape.memory_mib,
            memory: dir.join("memory"),
            disk: dir.join("disk.qcow2"),
            backing: self.image.disks(),
            seed: dir.join("seed.img"),
            kernel,
            // A kernel that QEMU starts itself needs no firmware of its own choice.
            firmware: self.settings.firmware.clone().filter(|_| !self.image.kernel),
            role: Role::Golden,
            life: Life::Tied,
            link: Link::of(&self.settings.warden, &self.network, dir),
            confinement: Confinement::of(server_name, self.binary.sandbox, self.accel),
        }
    }

    async fn build(&self, key: &str, dir: &Path) -> Result<(), QemuError> {
        let what = format!("booting image {} once to take a snapshot of it", self.image.name);
        let task = Task::begin(self.listener, what);
        self.check_room()?;
        let half = shelf::half_path(self.layout, key);
        lock::remove_tree(&half)?;
        private_dir(&half)?;
        let outcome = self.build_in(&half, key, dir, &task).await;
        if outcome.is_err() {
            // The first failure is the one to tell; what remains is removed by the next build.
            let _ = lock::remove_tree(&half);
        }
        outcome?;
        lock::remove_tree(dir)?;
        std::fs::rename(&half, dir).map_err(QemuError::io("move into place", dir))?;
        task.done();
        Ok(())
    }

    /// Memory for one more VM, and disk for its saved memory and for what its boot writes.
    fn check_room(&self) -> Result<(), QemuError> {
        let goldens = self.layout.goldens();
        let bytes = (u64::from(self.shape.memory_mib) << 20) + BOOT_WRITES_BYTES;
        room::require_for_file(&goldens, bytes, "a golden VM")?;
        let host = Host::now(&goldens)?;
        Ok(self.settings.room().admit_memory(self.shape.memory_mib, &host, &Promised::default())?)
    }

    async fn build_in(&self, half: &Path, key: &str, dir: &Path, task: &Task<'_>) -> Result<(), QemuError> {
        let server_name = format!("kiln-golden-{}", &key[..12]);
        let certificate = |e: kiln_tls::TlsError| QemuError::Certificate(e.to_string());
        let identity = self.authority.issue_server(&server_name).map_err(certificate)?;
        let user_data = self.user_data(self.authority.ca_pem(), &identity.cert_pem, &identity.key_pem).render()?;
        let machine = self.machine(half, &server_name);
        Seed { instance_id: &server_name, user_data: &user_data, agent: self.agent }.write(&machine.seed)?;
        let bytes = self.image.virtual_bytes.max(u64::from(self.shape.disk_gib) << 30);
        if let Some(below) = machine.backing.first() {
            program::create_overlay(&self.settings.qemu_img, &machine.disk, below, bytes).await?;
        }
        let began = std::time::Instant::now();
        let (name, assembled) = (server_name.clone(), machine.assemble(Vec::new())?);
        let (vm, mut qmp) = aside(move || Vm::spawn(&name, assembled)).await?.speak().await?;
        let outcome = self.boot_and_save(&vm, &mut qmp, half, &server_name, task).await;
        vm.end().await;
        outcome?;
        if self.network.isolated {
            let socket = half.join(AGENT_SOCKET);
            std::fs::remove_file(&socket).map_err(QemuError::io("remove", &socket))?;
        }
        program::create_overlay(&self.settings.qemu_img, &half.join("overlay.qcow2"), &dir.join("disk.qcow2"), bytes)
            .await?;
        let record = Record {
            image: self.name(),
            image_digest: self.image.digest.clone(),
            identity: self.image.identity(),
            shape: self.shape,
            server_name,
            ca: self.authority.fingerprint(),
            boot_s: began.elapsed().as_secs_f64(),
        };
        task.step("writing it to disk");
        write_through(half).await?;
        let text = serde_json::to_vec_pretty(&record).map_err(|e| QemuError::Invalid(e.to_string()))?;
        let path = half.join("golden.json");
        files::write_private(&path, &text).map_err(QemuError::io("write", &path))
    }

    async fn boot_and_save(
        &self,
        vm: &Vm,
        qmp: &mut Qmp,
        half: &Path,
        server_name: &str,
        task: &Task<'_>,
    ) -> Result<(), QemuError> {
        let reach = match self.network.isolated {
            true => Reach::Unix(half.join(AGENT_SOCKET)),
            false => SocketAddr::from(([127, 0, 0, 1], qmp.forwarded_port(AGENT_PORT).await?)).into(),
        };
        let agent =
            Agent::new(&reach, server_name, self.credentials).map_err(|e| QemuError::Certificate(e.to_string()))?;
        task.step("waiting for the agent to answer");
        self.await_phase(vm, "the agent answers", self.settings.boot_timeout, answers(&agent)).await?;
        drop(agent);
        task.step("waiting for the boot to come to rest");
        self.await_phase(vm, "the boot has come to rest", SETTLE_LIMIT, settled(vm)).await?;
        task.step("saving");
        qmp.execute("stop", json!({})).await?;
        qmp.ignore_shared_memory().await?;
        let path = half.join("state");
        let state = files::create_private(&path).map_err(QemuError::io("create", &path))?;
        qmp.give("state", state.into()).await?;
        qmp.execute("migrate", json!({ "uri": "fd:state" })).await?;
        qmp.wait_migrated(SAVE_LIMIT).await?;
        // QEMU closes the connection while it answers; its end is what counts and is waited for next.
        let _ = qmp.execute("quit", json!({})).await;
        tokio::time::timeout(SAVE_LIMIT, vm.exited())
            .await
            .map(drop)
            .map_err(|_| self.late(vm, "QEMU quits", SAVE_LIMIT))
    }

    async fn await_phase(
        &self,
        vm: &Vm,
        awaited: &'static str,
        limit: Duration,
        phase: impl Future<Output = ()>,
    ) -> Result<(), QemuError> {
        tokio::select! {
            () = phase => Ok(()),
            _ = vm.exited() => Err(vm.ended_early()),
            () = tokio::time::sleep(limit) => Err(self.late(vm, awaited, limit)),
        }
    }

    fn late(&self, vm: &Vm, awaited: &'static str, limit: Duration) -> QemuError {
        QemuError::BootTimeout { image: self.image.name.clone(), awaited, limit, console: vm.console_tail() }
    }
}

/// The instance says on its console when it has come to rest. An image without a serial console cannot; it gets some time.
async fn settled(vm: &Vm) {
    if vm.console_is_silent() {
        tracing::warn!(
            "the image has no console on ttyS0; its snapshot is taken {SILENT_REST:?} after the agent's answer"
        );
        tokio::time::sleep(SILENT_REST).await;
    } else {
        vm.console_holds(SETTLED_LINE).await;
    }
}

async fn answers(agent: &Agent) {
    while agent.health().await.is_err() {
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
}

/// A saved VM must survive a power cut whole or not at all.
async fn write_through(dir: &Path) -> Result<(), QemuError> {
    let dir = dir.to_owned();
    let work = move || {
        for name in ["disk.qcow2", "memory", "state", "overlay.qcow2"] {
            let path = dir.join(name);
            File::open(&path).and_then(|file| file.sync_all()).map_err(QemuError::io("write through", &path))?;
        }
        Ok(())
    };
    aside(work).await
}
