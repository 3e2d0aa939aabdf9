//! A clone of a golden VM: its files, its process, its address.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kiln_driver::user_data::AGENT_PORT;
use kiln_driver::{LaunchRequest, Launched};
use kiln_pool::{End, EndKind};
use kiln_wire::reach::Reach;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use crate::clone::adopt;
use crate::clone::owner::Owner;
use crate::clone::record::{Answer, Record};
use crate::error::QemuError;
use crate::golden::saved::Golden;
use crate::host::files::{STAT_BLOCK_BYTES, private_dir};
use crate::host::{aside, lock, proc};
use crate::vm::machine::{self, Life};
use crate::vm::monitor::AGENT_SOCKET;
use crate::vm::qemu::{Silent, Vm};
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
    /// Starts a clone. On failure, nothing of it remains. `files` is held until nothing works on its files any more, also
    /// when the start is given up.
    pub(crate) async fn start(
        request: &LaunchRequest,
        golden: &Golden,
        owner: &Owner,
        files: OwnedMutexGuard<()>,
    ) -> Result<Self, QemuError> {
        let id = &request.token;
        let dir = owner.instance_dir(id);
        if adopt::lives(&dir) {
            return Err(QemuError::Invalid(format!(
                "an earlier VM of instance {id} did not end yet: destroy it first"
            )));
        }
        let half = Arc::new(HalfMade { dir: dir.clone(), kept: AtomicBool::new(false), _files: files });
        let mut clock = Instant::now();
        let mut phase = || std::mem::replace(&mut clock, Instant::now()).elapsed();

        let isolated = request.network.isolated;
        let make = make(request, golden, owner, Arc::clone(&half))?;
        let Made { silent, state_number, mut record, .. } = aside(make).await?;
        let (mut vm, mut qmp) = silent.speak().await?;
        let spawn = phase();

        let agent = match load(&mut qmp, state_number, isolated.then_some(&dir)).await {
            Ok(agent) => agent,
            Err(_) if !vm.is_running() => return Err(vm.ended_early()),
            Err(error) => {
                vm.end().await;
                return Err(error);
            }
        };
        let answer =
            Answer { agent, server_name: golden.server_name.clone(), needs_claim: true, phases: [spawn, phase()] };
        let launched = answer.launched(id);
        record.answer = Some(answer);
        let disk = aside(settle(record, Arc::clone(&half))).await?;
        let monitor = match owner.life() {
            Life::Tied => Some(qmp),
            Life::Lasting => {
                vm.outlive();
                None
            }
        };
        half.keep();
        Ok(Self { vm, launched, dir, disk: Mutex::new(Some(disk)), ended_for_disk: OnceLock::new(), _monitor: monitor })
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
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dir = self.dir.clone();
        aside(move || {
            // Its last holder gives the space back, which takes as long as the file system needs for it.
            drop(disk);
            lock::remove_tree(&dir)
        })
        .await
    }
}

/// A clone whose process runs and does not have the golden VM's state yet.
struct Made {
    silent: Silent,
    /// Descriptor of the state, as the process numbers it.
    state_number: i32,
    record: Record,
    /// Dropped last: the process is gone before its files go.
    _half: Arc<HalfMade>,
}

/// Returns the work that makes a clone's files and starts its process. It keeps the files from being removed while it writes them.
fn make(
    request: &LaunchRequest,
    golden: &Golden,
    owner: &Owner,
    half: Arc<HalfMade>,
) -> Result<impl FnOnce() -> Result<Made, QemuError> + Send + 'static, QemuError> {
    let (id, life) = (request.token.clone(), owner.life());
    let mut record = Record::intent(request, golden.key());
    let (template, state) = (golden.overlay_template(), golden.state_file());
    let machine = golden.clone_machine(&id, &half.dir, life, &request.network);
    let golden_in_use = golden.hold()?;
    Ok(move || {
        let dir = &half.dir;
        private_dir(dir)?;
        record.write(dir)?;
        let overlay = dir.join(machine::OVERLAY);
        std::fs::copy(template, &overlay).map_err(QemuError::io("create", &overlay))?;
        let state = OwnedFd::from(File::open(&state).map_err(QemuError::io("open", &state))?);
        let state_number = state.as_raw_fd();
        let silent = match life {
            Life::Tied => Vm::spawn(&id, machine.assemble(vec![state])?)?,
            Life::Lasting => {
                // QEMU itself holds both locks, so that they say the truth whoever dies; its warden holds the sign too.
                let sign = adopt::sign_of_life(dir)?;
                let number = sign.as_raw_fd();
                let mut assembled = machine.assemble(vec![state, golden_in_use, sign])?;
                if let Some(guard) = &mut assembled.guard {
                    guard.sign_of_life = Some(number);
                }
                Vm::spawn_lasting(&id, assembled, dir)?
            }
        };
        record.process = Some(silent.name().clone());
        record.write(dir)?;
        Ok(Made { silent, state_number, record, _half: half })
    })
}

/// Returns the work that writes down where a clone answers, and takes its disk's name away. It returns the disk.
fn settle(record: Record, half: Arc<HalfMade>) -> impl FnOnce() -> Result<File, QemuError> + Send + 'static {
    move || {
        let overlay = half.dir.join(machine::OVERLAY);
        // QEMU holds it open. Without a name it is gone with QEMU, even if nobody is left to remove it.
        let disk = File::open(&overlay).map_err(QemuError::io("open", &overlay))?;
        std::fs::remove_file(&overlay).map_err(QemuError::io("remove", &overlay))?;
        record.write(&half.dir)?;
        Ok(disk)
    }
}

/// Gives a clone the golden VM's state, and returns where its agent answers. `isolated` is the directory of one that is.
async fn load(qmp: &mut Qmp, state: i32, isolated: Option<&PathBuf>) -> Result<Reach, QemuError> {
    qmp.ignore_shared_memory().await?;
    qmp.execute("migrate-incoming", json!({ "uri": format!("fd:{state}") })).await?;
    qmp.wait_loaded(LOAD_LIMIT).await?;
    qmp.execute("cont", json!({})).await?;
    match isolated {
        Some(dir) => Ok(Reach::Unix(dir.join(AGENT_SOCKET))),
        None => Ok(SocketAddr::from(([127, 0, 0, 1], qmp.forwarded_port(AGENT_PORT).await?)).into()),
    }
}

/// Removes the files of an instance whose start failed or was given up, when nothing works on them any more.
struct HalfMade {
    dir: PathBuf,
    kept: AtomicBool,
    /// Let go when the files are removed.
    _files: OwnedMutexGuard<()>,
}

impl HalfMade {
    fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            // What cannot be removed now goes with the owner's directory, or is found by its next process.
            let _ = lock::remove_tree(&self.dir);
        }
    }
}
