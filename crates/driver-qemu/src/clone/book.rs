//! What the driver knows about each id: whether it starts, runs or has ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use kiln_driver::{Labels, LaunchRequest, Listed};
use kiln_pool::Life;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::clone::adopt::Survivor;
use crate::clone::instance::Instance;
use crate::clone::owner::valid_name;
use crate::containers::Wish;
use crate::error::QemuError;
use crate::host::room::{Policy, Promised};
use crate::limits;
use crate::vm::machine::Shape;

/// How many ended ids are remembered, so that none is run twice.
const REMEMBERED_IDS: usize = 10_000;

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) slots: HashMap<String, Slot>,
    ended: HashSet<String>,
    ended_order: VecDeque<String>,
}

#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) memory_mib: u32,
    pub(crate) labels: Labels,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) given_up: watch::Sender<bool>,
    /// Held by whatever still writes or removes files of a start, also of one that was given up.
    files: Arc<Mutex<()>>,
}

#[derive(Clone)]
pub(crate) enum Phase {
    Starting,
    Running(Arc<Instance>),
    Failed(Arc<QemuError>),
    Ended,
}

impl Slot {
    pub(crate) fn starting(request: &LaunchRequest) -> Self {
        Self::new(request.memory_mib, request.labels.clone(), Phase::Starting)
    }

    fn new(memory_mib: u32, labels: Labels, phase: Phase) -> Self {
        let (phase, given_up) = (watch::Sender::new(phase), watch::Sender::new(false));
        Self { memory_mib, labels, phase, given_up, files: Arc::default() }
    }

    /// Returns what a listing shows of it; none of one that failed to start, or was destroyed.
    pub(crate) fn listed(&self, id: &str) -> Option<Listed> {
        let (life, launched) = match &*self.phase.borrow() {
            Phase::Starting => (Life::Starting, None),
            Phase::Running(instance) if instance.vm.is_running() => (Life::Running, Some(instance.launched.clone())),
            Phase::Running(_) => (Life::LeftOver, None),
            Phase::Failed(_) | Phase::Ended => return None,
        };
        Some(Listed { id: id.to_owned(), life, labels: self.labels.clone(), launched })
    }

    /// Waits until nothing works on its files.
    pub(crate) async fn hold_files(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.files).lock_owned().await
    }

    /// Waits until it starts no more, and returns its phase.
    pub(crate) async fn settled(&self) -> Phase {
        let mut phase = self.phase.subscribe();
        match phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await {
            Ok(phase) => phase.clone(),
            Err(_) => Phase::Ended,
        }
    }
}

impl Book {
    /// Lists the instances that run or have ended by themselves, by id.
    pub(crate) fn started(&self) -> Vec<(String, Arc<Instance>)> {
        let started = |(id, slot): (&String, &Slot)| match &*slot.phase.borrow() {
            Phase::Running(instance) => Some((id.clone(), Arc::clone(instance))),
            _ => None,
        };
        self.slots.iter().filter_map(started).collect()
    }

    /// Returns what the instances that start or run were promised.
    pub(crate) fn promised(&self, policy: &Policy) -> Promised {
        let mut promised = Promised::default();
        for slot in self.slots.values() {
            match &*slot.phase.borrow() {
                Phase::Starting => promised.add_starting(policy, slot.memory_mib),
                Phase::Running(instance) if instance.vm.is_running() => {
                    promised.add_running(policy, slot.memory_mib, instance.written_bytes());
                }
                Phase::Running(_) | Phase::Failed(_) | Phase::Ended => {}
            }
        }
        promised
    }

    /// Enters an instance that an earlier owner has started.
    pub(crate) fn adopt(&mut self, survivor: Survivor) {
        let Survivor { id, dir, record, vm } = survivor;
        let Some(answer) = record.answer else { return };
        let instance = Instance::adopt(vm, answer.launched(&id), dir);
        let slot = Slot::new(record.memory_mib, record.labels, Phase::Running(Arc::new(instance)));
        self.slots.insert(id, slot);
    }

    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.ended.contains(id)
    }

    pub(crate) fn remember_ended(&mut self, id: &str) {
        if self.ended.insert(id.to_owned()) {
            self.ended_order.push_back(id.to_owned());
        }
        if self.ended_order.len() > REMEMBERED_IDS
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

pub(crate) fn check(request: &LaunchRequest) -> Result<(), QemuError> {
    if request.count != 1 {
        return Err(QemuError::Invalid(format!(
            "{} instances at once: local VMs are started one by one",
            request.count
        )));
    }
    if !valid_name(&request.token) {
        return Err(QemuError::Invalid(format!(
            "`{}` is not an instance id: use 1 to 63 lower-case letters, digits and inner hyphens",
            request.token
        )));
    }
    Wish::of(&request.spec)?;
    limits::check(Shape { cpus: request.cpus, memory_mib: request.memory_mib, disk_gib: request.disk_gib })
}
