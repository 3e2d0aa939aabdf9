//! A clone of a golden VM: its files, its process, its address.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiln_driver::user_data::AGENT_PORT;
use serde_json::json;

use crate::error::QemuError;
use crate::golden::Golden;
use crate::lock;
use crate::owner::{Owner, ProcessName};
use crate::paths::private_dir;
use crate::vm::Vm;

/// Loading half a megabyte of state.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// A running clone.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) vm: Vm,
    pub(crate) agent: SocketAddr,
    pub(crate) phases: Vec<(&'static str, Duration)>,
    dir: PathBuf,
}

impl Instance {
    /// Starts a clone. On failure, nothing of it remains.
    pub(crate) async fn start(id: &str, golden: &Golden, owner: &Owner) -> Result<Self, QemuError> {
        let dir = owner.instance_dir(id);
        let half = HalfMade { dir: dir.clone(), armed: true };
        let mut clock = Instant::now();
        let mut phase = || std::mem::replace(&mut clock, Instant::now()).elapsed();

        private_dir(&dir)?;
        let overlay = dir.join("overlay.qcow2");
        std::fs::copy(golden.overlay_template(), &overlay).map_err(QemuError::io("create", &overlay))?;
        let state = golden.state_file();
        let state = OwnedFd::from(File::open(&state).map_err(QemuError::io("open", &state))?);
        let state_number = state.as_raw_fd();
        let machine = golden.clone_machine(id, overlay.clone());
        let vm = Vm::start(id, machine.command(), vec![state]).await?;
        owner.record(id, &ProcessName::new(vm.pid(), vm.start_time()))?;
        let mut phases = vec![("spawn", phase())];

        let loaded = load(&vm, state_number).await;
        let port = match loaded {
            Ok(port) => port,
            Err(_) if !vm.is_running() => return Err(vm.ended_early()),
            Err(error) => {
                vm.end().await;
                return Err(error);
            }
        };
        // QEMU holds it open. Without a name it is gone with QEMU, even if nobody is left to remove it.
        std::fs::remove_file(&overlay).map_err(QemuError::io("remove", &overlay))?;
        phases.push(("load", phase()));
        half.keep();
        Ok(Self { vm, agent: ([127, 0, 0, 1], port).into(), phases, dir })
    }

    /// Ends the VM and removes its files. Safe to repeat.
    pub(crate) async fn destroy(&self) -> Result<(), QemuError> {
        self.vm.end().await;
        lock::remove_tree(&self.dir)
    }
}

async fn load(vm: &Vm, state: i32) -> Result<u16, QemuError> {
    let mut qmp = vm.qmp.lock().await;
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
            // What cannot be removed now goes with the owner's directory.
            let _ = lock::remove_tree(&self.dir);
        }
    }
}
