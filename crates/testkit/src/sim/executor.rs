//! The scheduler of the simulated world. Each step is one decision about the next task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use futures::future::BoxFuture;
use kiln_engine::Engine;
use kiln_pool::{Config, InstanceId, State};

use super::clock::{Owner, TaskId};
use super::fault::Fault;
use super::world::{Pace, Part, Shared};
use super::{invariant, runner};

/// The tasks, and the engines that serve requests.
pub struct Executor {
    /// The state that all tasks share.
    pub shared: Arc<Shared>,
    tasks: BTreeMap<TaskId, (Owner, BoxFuture<'static, ()>)>,
    engines: Arc<Engines>,
}

/// The engines of the runners that are up.
pub type Engines = std::sync::Mutex<BTreeMap<usize, (Arc<Engine>, Config)>>;

impl Executor {
    /// Creates an executor of this world without tasks.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tasks: BTreeMap::new(), engines: Arc::default() }
    }

    /// Returns the engines that are up.
    #[must_use]
    pub fn engines(&self) -> Arc<Engines> {
        Arc::clone(&self.engines)
    }

    /// Starts a runner.
    pub fn start(&mut self, runner: usize) {
        let config = self.shared.world().config.clone();
        let engine = runner::start(&self.shared, runner, &config);
        self.engines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(runner, (engine, config));
    }

    /// Ends a runner's process. Its open calls may or may not arrive.
    pub fn crash(&mut self, runner: usize) {
        self.engines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&runner);
        let mut gone = Vec::new();
        {
            let mut world = self.shared.world();
            world.say(&format!("r{runner} crashes"));
            world.marks.count("crashes");
            if let Some(process) = world.processes.get_mut(runner) {
                process.up = false;
            }
            for (id, (owner, _)) in &self.tasks {
                let ends = *owner == Owner::Runner(runner) || *owner == Owner::Wire(runner) && world.rng.chance(500);
                if ends {
                    gone.push(*id);
                }
            }
        }
        for id in gone {
            // Dropping a task may lock the world.
            drop(self.tasks.remove(&id));
            self.shared.clock.ready().remove(&id);
        }
    }

    /// Makes one decision: a ready task continues, or time does. Returns false when nothing is left to do.
    pub fn step(&mut self) -> bool {
        self.take_spawned();
        self.shared.clock.fire();
        let Some(id) = self.choose() else { return self.advance() };
        self.shared.clock.ready().remove(&id);
        if let Some((_, future)) = self.tasks.get_mut(&id) {
            let waker = self.shared.clock.waker(id);
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                drop(self.tasks.remove(&id));
            }
        }
        self.take_spawned();
        let (crashes, dropped) = {
            let mut world = self.shared.world();
            (std::mem::take(&mut world.crashes), std::mem::take(&mut world.dropped))
        };
        for id in dropped {
            drop(self.tasks.remove(&id));
            self.shared.clock.ready().remove(&id);
        }
        for runner in crashes {
            if self.shared.world().processes.get(runner).is_some_and(|p| p.up) {
                self.take_spawned();
                self.crash(runner);
            }
        }
        invariant::after_step(&mut self.shared.world());
        true
    }

    fn take_spawned(&mut self) {
        for spawned in self.shared.clock.take_spawned() {
            self.shared.clock.ready().insert(spawned.id);
            self.tasks.insert(spawned.id, (spawned.owner, spawned.future));
        }
    }

    /// Chooses a ready task whose process is not paused.
    fn choose(&mut self) -> Option<TaskId> {
        let mut world = self.shared.world();
        let now = self.shared.clock.now_ms();
        let mut ready = self.shared.clock.ready();
        ready.retain(|id| self.tasks.contains_key(id));
        let resting: BTreeSet<usize> =
            world.processes.iter().enumerate().filter(|(_, p)| p.paused_ms > now).map(|(i, _)| i).collect();
        if resting.is_empty() {
            if ready.is_empty() {
                return None;
            }
            let index = if world.pace == Pace::Steady { 0 } else { world.rng.index(ready.len()) };
            return ready.iter().nth(index).copied();
        }
        let rests = |id: &&TaskId| match self.tasks.get(id) {
            Some((Owner::Runner(runner), _)) => resting.contains(runner),
            _ => false,
        };
        let able: Vec<TaskId> = ready.iter().filter(|id| !rests(id)).copied().collect();
        drop(ready);
        world.rng.pick(&able).copied()
    }

    /// Advances time to the next event.
    fn advance(&mut self) -> bool {
        let mut world = self.shared.world();
        let now = self.shared.clock.now_ms();
        let pauses = world.processes.iter().map(|p| p.paused_ms).filter(|until| *until > now);
        let Some(next) = pauses.chain(self.shared.clock.next_ms()).min() else { return false };
        let next = next.max(now);
        let well = (0..world.processes.len()).any(|runner| world.is_well(runner));
        self.shared.clock.advance_to(next);
        if well {
            world.well_ms += next - now;
            world.able_ms += if world.can_write() { next - now } else { 0 };
        }
        world.tend(next - now);
        world.watchdogs();
        world.chances(next - now);
        invariant::after_step(&mut world);
        true
    }
}

impl super::world::World {
    fn watchdogs(&mut self) {
        let now = self.now_ms();
        let expired: Vec<_> = self
            .clouds
            .iter()
            .flat_map(|(driver, cloud)| cloud.expired(now).into_iter().map(|(id, why)| (driver.clone(), id, why)))
            .collect();
        for (driver, id, why) in expired {
            self.end_vm(&driver, &id, why);
        }
    }

    /// Counts for how long agents were not asked although all runners could ask them.
    fn tend(&mut self, passed_ms: i64) {
        if !self.all_can_ask() {
            return;
        }
        let (now, rows) = (self.now_ms(), &self.rows);
        let ours = |id: &str| {
            let row = rows.instances.get(&InstanceId::new(id));
            row.is_some_and(|row| matches!(row.state, State::Ready | State::Claimed) && !rows.unreadable.contains(id))
        };
        for vm in self.clouds.values_mut().flat_map(|cloud| cloud.vms.values_mut()) {
            if vm.answers(now) && ours(&vm.id) {
                vm.unasked_ms += passed_ms;
            }
        }
    }

    /// Makes random events happen in the time that passed.
    fn chances(&mut self, passed_ms: i64) {
        // Rates are per some hundred milliseconds, so a long wait has more chances.
        let times = (passed_ms / 250).clamp(1, 8);
        for _ in 0..times {
            if self.strikes(Fault::VmDies) {
                self.hit_vm("vm_dies");
            }
            if self.strikes(Fault::AgentHangs) {
                self.hit_vm("agent_hangs");
            }
            if self.strikes(Fault::AgentForgets) {
                self.hit_vm("agent_forgets");
            }
        }
        let runners = self.processes.len();
        let runner = self.rng.index(runners);
        let now = self.now_ms();
        if self.strikes(Fault::ClockJump) {
            // Hosts that share a store agree about the time to within some minutes.
            let most = if runners == 1 { 30 * 3_600_000 } else { 600_000 };
            let jump = self.rng.between(-most, most);
            self.say(&format!("r{runner} fault clock_jump {jump} ms"));
            if let Some(process) = self.processes.get_mut(runner) {
                process.skew_ms = jump;
            }
        }
        if self.strikes(Fault::Partition) {
            let part = *self.rng.pick(&[Part::Store, Part::Cloud, Part::Agents]).unwrap_or(&Part::Store);
            let until = now + self.rng.between(1_000, 120_000);
            self.say(&format!("r{runner} fault partition from {part:?} for {} ms", until - now));
            if let Some(process) = self.processes.get_mut(runner) {
                process.cut_off_ms.insert(part, until);
            }
        }
        if self.strikes(Fault::Pause) {
            let until = now + self.rng.between(1_000, 100_000);
            self.marks.stood_still = true;
            self.say(&format!("r{runner} fault pause for {} ms", until - now));
            if let Some(process) = self.processes.get_mut(runner) {
                process.paused_ms = until;
            }
        }
        if self.strikes(Fault::DiskFull) {
            let ms = self.trouble_ms();
            self.fill_disk(ms);
        }
        if self.strikes(Fault::StoreOutage) {
            let ms = self.trouble_ms();
            self.stop_store(ms);
        }
        if self.strikes(Fault::Stray) {
            self.make_stray(runner);
        }
        if self.strikes(Fault::Stranger) {
            self.make_stranger();
        }
    }

    fn hit_vm(&mut self, fault: &str) {
        let there: Vec<(String, String)> = super::driver::all_vms(&self.clouds)
            .filter(|(_, vm)| vm.runs())
            .map(|(driver, vm)| (driver.clone(), vm.id.clone()))
            .collect();
        let Some((driver, id)) = self.rng.pick(&there).cloned() else { return };
        self.hit(&driver, &id, fault);
    }

    /// Makes a fault happen to a VM.
    pub fn hit(&mut self, driver: &str, id: &str, fault: &str) {
        let now = self.now_ms();
        match fault {
            "vm_dies" => self.end_vm(driver, id, "fault vm_dies"),
            "agent_forgets" => {
                self.say(&format!("{driver} vm {id} fault agent_forgets"));
                if let Some(vm) = self.clouds.get_mut(driver).and_then(|c| c.vms.get_mut(id)) {
                    // Its watchdog starts again, too.
                    (vm.has_identity, vm.contact_ms) = (false, now);
                }
            }
            _ => self.hang_agent(driver, id),
        }
    }

    fn hang_agent(&mut self, driver: &str, id: &str) {
        let for_ever = self.rng.chance(300);
        let until = self.now_ms() + if for_ever { i64::from(u32::MAX) } else { self.rng.between(1_000, 240_000) };
        self.say(&format!("{driver} vm {id} fault agent_hangs{}", if for_ever { " for ever" } else { "" }));
        if let Some(vm) = self.clouds.get_mut(driver).and_then(|c| c.vms.get_mut(id)) {
            vm.hangs_ms = until;
        }
    }
}
