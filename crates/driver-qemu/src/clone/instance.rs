//! A clone of a golden VM: its files, its process, its address.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kiln_driver::user_data::AGENT_PORT;
use kiln_driver::{LaunchRequest, Launched};
use kiln_pool::{End, EndKind};
use serde_json::json;

use crate::clone::adopt;
use crate::clone::owner::Owner;
use crate::clone::record::{Answer, Record};
use crate::error::QemuError;
use crate::golden::saved::Golden;
use crate::host::files::{STAT_BLOCK_BYTES, private_dir};
use crate::host::lock;
use crate::host::proc;
use crate::vm::machine::{self, Life};
use crate::vm::qemu::Vm;
use crate::vm::qmp::Qmp;

/// Loading half a megabyte of state.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// A running clone.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) vm: Vm,
    pub(crate) launched: Launched,
    dir: PathBuf,
    /// What it has written, which has no name any more. None where it cannot be looked at, and of a VM that has ended: as
    /// long as anybody has the file open, its disk is not free.
    disk: Mutex<Option<File>>,
    /// Why this driver has ended it without being asked to.
    ended_for_disk: OnceLock<String>,
    /// That of a VM that outlives its owner is closed, for the next who asks.
    _monitor: Option<Qmp>,
}

impl Instance {
    /// Starts a clone. On failure, nothing of it remains.
    pub(crate) async fn start(request: &LaunchRequest, golden: &Golden, owner: &Owner) -> Result<Self, QemuError> {
        let id = &request.token;
        let dir = owner.instance_dir(id);
        if adopt::lives(&dir) {
            return Err(QemuError::Invalid(format!(
                "an earlier VM of instance {id} did not end yet: destroy it first"
            )));
        }
        let half = HalfMade { dir: dir.clone(), armed: true };
        let mut clock = Instant::now();
        let mut phase = || std::mem::replace(&mut clock, Instant::now()).elapsed();

        private_dir(&dir)?;
        let mut record = Record::intent(request, golden.key());
        record.write(&dir)?;
        let overlay = dir.join(machine::OVERLAY);
        std::fs::copy(golden.overlay_template(), &overlay).map_err(QemuError::io("create", &overlay))?;
        let state = golden.state_file();
        let state = OwnedFd::from(File::open(&state).map_err(QemuError::io("open", &state))?);
        let state_number = state.as_raw_fd();
        let (mut vm, mut qmp) = match owner.life() {
            Life::Tied => {
                let machine = golden.clone_machine(id, overlay.clone(), Life::Tied);
                Vm::start(id, machine.assemble(vec![state])?).await?
            }
            Life::Lasting => {
                let machine = golden.clone_machine(id, overlay.clone(), Life::Lasting);
                // QEMU itself holds both locks, so that they say the truth whoever dies.
                let inherit = vec![state, golden.hold()?, adopt::sign_of_life(&dir)?];
                Vm::start_lasting(id, machine.assemble(inherit)?, &dir).await?
            }
        };
        record.process = Some(vm.name().clone());
        record.write(&dir)?;
        let spawn = phase();

        let port = match load(&mut qmp, state_number).await {
            Ok(port) => port,
            Err(_) if !vm.is_running() => return Err(vm.ended_early()),
            Err(error) => {
                vm.end().await;
                return Err(error);
            }
        };
        // QEMU holds it open. Without a name it is gone with QEMU, even if nobody is left to remove it.
        let disk = Mutex::new(Some(File::open(&overlay).map_err(QemuError::io("open", &overlay))?));
        std::fs::remove_file(&overlay).map_err(QemuError::io("remove", &overlay))?;
        let answer = Answer {
            agent: ([127, 0, 0, 1], port).into(),
            server_name: golden.server_name.clone(),
            needs_claim: true,
            phases: [spawn, phase()],
        };
        let launched = answer.launched(id);
        record.answer = Some(answer);
        record.write(&dir)?;
        let monitor = match owner.life() {
            Life::Tied => Some(qmp),
            Life::Lasting => {
                vm.outlive();
                None
            }
        };
        half.keep();
        Ok(Self { vm, launched, dir, disk, ended_for_disk: OnceLock::new(), _monitor: monitor })
    }

    /// Takes over a clone that an earlier owner has started.
    pub(crate) fn adopt(vm: Vm, launched: Launched, dir: PathBuf) -> Self {
        let disk = Mutex::new(proc::opened(vm.name().pid, &dir.join(machine::OVERLAY)));
        Self { vm, launched, dir, disk, ended_for_disk: OnceLock::new(), _monitor: None }
    }

    /// Returns the disk that its writes take on the host, in bytes; 0 where that cannot be told, and of a VM that has ended, whose disk
    /// is given back by this.
    pub(crate) fn written_bytes(&self) -> u64 {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.vm.is_running() {
            *disk = None;
        }
        disk.as_ref().and_then(|disk| disk.metadata().ok()).map_or(0, |meta| meta.blocks() * STAT_BLOCK_BYTES)
    }

    /// Ends the VM, because the host runs out of disk, and waits for its end; `why` becomes part of its evidence. Its files
    /// stay until it is destroyed.
    pub(crate) fn end_for_disk(&self, why: &str) {
        // The first reason is the one that counts.
        let _ = self.ended_for_disk.set(why.to_owned());
        self.vm.kill();
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits for the end of the VM, and says how it ended.
    pub(crate) async fn ended(&self) -> End {
        self.vm.exited().await;
        match self.ended_for_disk.get() {
            Some(why) => End::new(EndKind::DiskFull, why.as_str()),
            None => End::new(self.vm.end_kind(), self.vm.evidence()),
        }
    }

    /// Ends the VM and removes its files. Safe to repeat.
    pub(crate) async fn destroy(&self) -> Result<(), QemuError> {
        self.vm.end().await;
        lock::remove_tree(&self.dir)
    }
}

async fn load(qmp: &mut Qmp, state: i32) -> Result<u16, QemuError> {
    qmp.ignore_shared_memory().await?;
    qmp.execute("migrate-incoming", json!({ "uri": format!("fd:{state}") })).await?;
    qmp.wait_loaded(LOAD_LIMIT).await?;
    qmp.execute("cont", json!({})).await?;
    qmp.forwarded_port(AGENT_PORT).await
}

/// Removes the files of an instance whose start failed or was given up.
struct HalfMade {
    dir: PathBuf,
    armed: bool,
}

impl HalfMade {
    fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be removed now goes with the owner's directory, or is found by its next process.
            let _ = lock::remove_tree(&self.dir);
        }
    }
}
