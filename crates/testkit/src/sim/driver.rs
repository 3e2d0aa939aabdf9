//! A cloud as one runner reaches it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use kiln_driver::{Abilities, Driver, DriverError, ErrorClass, Labels, LaunchRequest, Launched, Listed};
use kiln_engine::{INSTALLATION_LABEL, POOL_LABEL, RUNNER_LABEL};
use kiln_pool::{End, EndKind};

use super::clock::Owner;
use super::cloud::{Fate, VmState};
use super::fault::Fault;
use super::invariant;
use super::world::{Pace, Part, Shared, World};

/// The installation of all runners of a world.
pub const INSTALLATION: &str = "sim";
/// The cloud whose listings may include instances of other installations.
pub(super) const SHARED_CLOUD: &str = "cloud";

/// One cloud for one start of a runner.
pub struct SimDriver {
    /// The world.
    pub shared: Arc<Shared>,
    /// The runner that calls.
    pub runner: usize,
    /// Number of its start.
    pub incarnation: u32,
    /// The driver's name.
    pub name: String,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, DriverError>>;

pub(super) fn error(class: ErrorClass, message: impl Into<String>) -> DriverError {
    DriverError { class, message: message.into(), source: None }
}

/// A call that changes something.
#[derive(Debug, Clone)]
enum Order {
    Launch(LaunchRequest),
    Destroy(String),
    Hibernate(String),
    Resume(String),
}

impl Order {
    fn id(&self) -> &str {
        match self {
            Self::Launch(request) => &request.token,
            Self::Destroy(id) | Self::Hibernate(id) | Self::Resume(id) => id,
        }
    }

    /// Returns the key of the work. A launch of a batch does not work on those of its instances that exist already.
    fn works_on(&self) -> String {
        match self {
            Self::Launch(request) if request.count > 1 => format!("batch {}", request.token),
            Self::Launch(_) | Self::Destroy(_) | Self::Hibernate(_) | Self::Resume(_) => self.id().to_owned(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Destroy(_) => "destroy",
            Self::Hibernate(_) => "hibernate",
            Self::Resume(_) => "resume",
        }
    }

    fn usual_ms(&self) -> i64 {
        match self {
            Self::Launch(_) => 800,
            Self::Destroy(_) => 300,
            Self::Hibernate(_) => 2_000,
            Self::Resume(_) => 1_500,
        }
    }
}

impl SimDriver {
    /// Sends an order. It arrives even if its sender ends meanwhile.
    fn order(&self, order: Order) -> Answer<'_, Vec<Launched>> {
        async move {
            let (shared, name, runner) = (Arc::clone(&self.shared), self.name.clone(), self.runner);
            let incarnation = self.incarnation;
            let (answer, answered) = oneshot::channel();
            let before = shared.world().order_sent(runner, &name, &order);
            let _working = Working::begin(&self.shared, runner, self.incarnation, &order.works_on());
            let on_the_wire = async move {
                shared.clock.sleep(before).await;
                let (done, after) = shared.world().order_arrives((runner, incarnation), &name, &order);
                shared.clock.sleep(after).await;
                // The sender may no longer be waiting for it.
                drop(answer.send(done));
            };
            self.shared.clock.spawn(Owner::Wire(runner), on_the_wire.boxed());
            answered.await.unwrap_or_else(|_| Err(error(ErrorClass::Ambiguous, "the connection was cut")))
        }
        .boxed()
    }
}

/// Marks an instance as worked on until it is dropped.
pub(super) struct Working {
    shared: Arc<Shared>,
    runner: usize,
    key: (u32, String),
}

impl Working {
    pub(super) fn begin(shared: &Arc<Shared>, runner: usize, incarnation: u32, id: &str) -> Self {
        let key = (incarnation, id.to_owned());
        let mut world = shared.world();
        if !world.processes.get_mut(runner).is_some_and(|p| p.working.insert(key.clone())) {
            world.violate("one_work_at_a_time", format!("runner{runner} works on {id} twice at the same time"));
        }
        drop(world);
        Self { shared: Arc::clone(shared), runner, key }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(process) = self.shared.world().processes.get_mut(self.runner) {
            process.working.remove(&self.key);
        }
    }
}

impl World {
    fn order_sent(&mut self, runner: usize, driver: &str, order: &Order) -> i64 {
        self.say(&format!("r{runner} {driver} {} {} is called", order.name(), order.id()));
        invariant::ordered(self, runner, order.name(), order.id());
        let usual = order.usual_ms();
        if self.strikes(Fault::SlowCall) { self.rng.between(5_000, 45_000) } else { self.delay(usual) }
    }

    fn order_arrives(
        &mut self,
        (runner, incarnation): (usize, u32),
        driver: &str,
        order: &Order,
    ) -> (Result<Vec<Launched>, DriverError>, i64) {
        let what = format!("{} {}", order.name(), order.id());
        if self.is_cut_off(runner, Part::Cloud) {
            return (Err(error(ErrorClass::Ambiguous, "no answer")), 5_000);
        }
        // A call for sleep that outlives its process could put an instance to sleep that was woken since, and no row
        // can prevent that. The simulation assumes that this does not happen.
        let sender_lives = self.processes.get(runner).is_some_and(|p| p.up && p.incarnation == incarnation);
        if matches!(order, Order::Hibernate(_)) && !sender_lives {
            return (Err(error(ErrorClass::Ambiguous, "cut")), 1);
        }
        if self.strikes_in(order.name(), Fault::CrashBefore) {
            self.say(&format!("r{runner} fault crash_before {what}"));
            self.crashes.insert(runner);
            return (Err(error(ErrorClass::Ambiguous, "cut")), 1);
        }
        let refusals = [
            (Fault::Throttled, ErrorClass::Throttled),
            (Fault::Transient, ErrorClass::Transient),
            (Fault::Auth, ErrorClass::Auth),
            (Fault::Capacity, ErrorClass::Capacity),
            (Fault::Quota, ErrorClass::Quota),
        ];
        for (fault, class) in refusals {
            let launch_only = matches!(fault, Fault::Capacity | Fault::Quota);
            if (!launch_only || matches!(order, Order::Launch(_))) && self.strikes_in(order.name(), fault) {
                self.say(&format!("r{runner} {driver} {what} fault {}", fault.name()));
                return (Err(error(class, fault.name())), 20);
            }
        }
        let (done, after) = self.carry_out(runner, driver, order);
        if self.strikes_in(order.name(), Fault::CrashAfter) {
            self.say(&format!("r{runner} fault crash_after {what}"));
            self.crashes.insert(runner);
        }
        if self.strikes_in(order.name(), Fault::ResponseLost) {
            self.say(&format!("r{runner} {driver} {what} fault response_lost"));
            return (Err(error(ErrorClass::Ambiguous, "response_lost")), 5_000);
        }
        (done, after)
    }

    fn carry_out(&mut self, runner: usize, driver: &str, order: &Order) -> (Result<Vec<Launched>, DriverError>, i64) {
        let now = self.now_ms();
        match order {
            Order::Launch(request) => self.launched(runner, driver, request),
            Order::Destroy(id) => {
                invariant::destroyed(self, runner, driver, id);
                if self.cloud_has(driver, id) {
                    self.end_vm(driver, id, "destroyed");
                }
                (Ok(Vec::new()), 50)
            }
            Order::Hibernate(id) | Order::Resume(id) => {
                let sleeps = matches!(order, Order::Hibernate(_));
                let boots_ms = now + self.delay(3_000);
                let Some(vm) = self.clouds.get_mut(driver).and_then(|c| c.vms.get_mut(id)).filter(|vm| vm.exists())
                else {
                    return (Err(error(ErrorClass::NotFound, format!("there is no {id}"))), 20);
                };
                if sleeps {
                    vm.state = VmState::Asleep;
                } else if vm.state == VmState::Asleep {
                    (vm.state, vm.contact_ms) = (VmState::Running, now);
                    vm.boots_ms = vm.boots_ms.map(|_| boots_ms);
                }
                let launched = if sleeps { Vec::new() } else { vec![vm.launched()] };
                self.say(&format!("{driver} vm {id} {}", if sleeps { "sleeps" } else { "wakes" }));
                (Ok(launched), 500)
            }
        }
    }

    /// Makes a VM that has a runner's labels but no row.
    pub fn make_stray(&mut self, runner: usize) {
        let pools: Vec<(String, String)> =
            self.config.pools.values().map(|pool| (pool.driver.clone(), pool.name.clone())).collect();
        let Some((driver, pool)) = self.rng.pick(&pools).cloned() else { return };
        let (now, id) = (self.now_ms(), self.new_token());
        // In a cloud with a single owner, every listed instance is that owner's, even with the label of a lost
        // database.
        let installation = if driver == SHARED_CLOUD { INSTALLATION } else { "lost" };
        let labels = Labels::from([
            (INSTALLATION_LABEL.to_owned(), installation.to_owned()),
            (POOL_LABEL.to_owned(), pool),
            (RUNNER_LABEL.to_owned(), format!("runner{runner}")),
        ]);
        self.make_unknown(&driver, &id, labels, now);
        self.say(&format!("{driver} vm {id} is there, fault stray"));
    }

    /// Makes a VM of a stranger in the shared cloud: with another installation's label, or without any.
    pub fn make_stranger(&mut self) {
        let (now, id) = (self.now_ms(), self.new_token());
        let other = self.rng.chance(500).then(|| (INSTALLATION_LABEL.to_owned(), "other".to_owned()));
        self.make_unknown(SHARED_CLOUD, &id, Labels::from_iter(other), now);
        self.say(&format!("{SHARED_CLOUD} vm {id} is there, fault stranger"));
    }

    fn make_unknown(&mut self, driver: &str, id: &str, labels: Labels, now: i64) {
        let fate = Fate { visible_ms: now, addressed_ms: now, boots_ms: Some(now) };
        let Some(cloud) = self.clouds.get_mut(driver) else { return };
        cloud.make(id, "debian", labels, now, fate).late = true;
    }

    fn cloud_has(&self, driver: &str, id: &str) -> bool {
        self.clouds.get(driver).and_then(|c| c.vms.get(id)).is_some_and(super::cloud::Vm::exists)
    }

    /// Ends a VM for any reason.
    pub fn end_vm(&mut self, driver: &str, id: &str, why: &str) {
        let (now, well) = (self.now_ms(), self.well_ms);
        let (ghost, shown) = if self.strikes(Fault::DelayedVisibility) {
            (self.rng.between(0, 20_000), self.rng.between(20_000, 120_000))
        } else {
            // Some clouds forget an ended VM at once, others do not.
            (0, if self.pace == Pace::Random && self.rng.chance(500) { 0 } else { 30_000 })
        };
        self.say(&format!("{driver} vm {id} ends: {why}"));
        if let Some(cloud) = self.clouds.get_mut(driver) {
            cloud.end(id, why, now, well, now + ghost, now + shown);
        }
    }

    fn listing(&mut self, runner: usize, driver: &str) -> Result<Vec<Listed>, DriverError> {
        if self.is_cut_off(runner, Part::Cloud) {
            return Err(error(ErrorClass::Transient, "no route"));
        }
        if self.strikes(Fault::ListFails) {
            return Err(error(ErrorClass::Throttled, "list_fails"));
        }
        let now = self.now_ms();
        let shaky = self.strikes(Fault::PagingChanges);
        let mut all = Vec::new();
        if let Some(cloud) = self.clouds.get(driver) {
            all.extend(cloud.vms.values().filter_map(|vm| vm.listed(now)));
        }
        if shaky {
            let missed = self.rng.between(100, 600);
            all.retain(|_| !self.rng.chance(u32::try_from(missed).unwrap_or(0)));
            let again: Vec<Listed> = all.iter().filter(|_| self.rng.chance(200)).cloned().collect();
            all.extend(again);
        }
        if let Some(cloud) = self.clouds.get_mut(driver) {
            for listed in &all {
                if let Some(vm) = cloud.vms.get_mut(&listed.id) {
                    vm.shown_ms.insert(runner, now);
                }
            }
        }
        Ok(all)
    }
}

impl Driver for SimDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> Answer<'a, Vec<Launched>> {
        self.order(Order::Launch(request.clone()))
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        async move {
            let before = {
                let mut world = self.shared.world();
                if world.strikes(Fault::SlowListing) { 2_000 } else { world.delay(30) }
            };
            self.shared.clock.sleep(before).await;
            let listed = self.shared.world().listing(self.runner, &self.name);
            let after = self.shared.world().delay(10);
            self.shared.clock.sleep(after).await;
            listed
        }
        .boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let order = self.order(Order::Destroy(id.to_owned()));
        async move { order.await.map(drop) }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        async move {
            loop {
                self.shared.clock.sleep(10_000).await;
                let world = self.shared.world();
                let cloud = world.clouds.get(&self.name);
                let ended = cloud.is_some_and(|c| c.tells_ends && c.vms.get(id).is_none_or(|vm| !vm.exists()));
                if ended {
                    return End::new(EndKind::Crashed, "it ended");
                }
                if cloud.is_none_or(|c| !c.tells_ends) {
                    break;
                }
            }
            futures::future::pending().await
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, _: &'a str) -> BoxFuture<'a, String> {
        async move {
            let before = self.shared.world().delay(20);
            self.shared.clock.sleep(before).await;
            String::new()
        }
        .boxed()
    }

    fn abilities(&self) -> Abilities {
        let hibernate = self.shared.world().clouds.get(&self.name).is_some_and(|c| c.can_hibernate);
        let shared = self.name == SHARED_CLOUD;
        // `cloud` takes batches. `den` is a host, where a few concurrent launches are best.
        Abilities {
            hibernate,
            outlives_owner: true,
            lists_others: shared,
            batch_max: if shared { 3 } else { 1 },
            launches_at_once: (!shared).then_some(2),
        }
    }

    fn hibernate<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let order = self.order(Order::Hibernate(id.to_owned()));
        async move { order.await.map(drop) }.boxed()
    }

    fn resume<'a>(&'a self, id: &'a str) -> Answer<'a, Launched> {
        let order = self.order(Order::Resume(id.to_owned()));
        async move { order.await?.pop().ok_or_else(|| error(ErrorClass::Transient, "an answer without content")) }
            .boxed()
    }
}

/// Returns the VMs of all clouds.
pub(super) fn all_vms(
    clouds: &BTreeMap<String, super::cloud::Cloud>,
) -> impl Iterator<Item = (&String, &super::cloud::Vm)> {
    clouds.iter().flat_map(|(driver, cloud)| cloud.vms.values().map(move |vm| (driver, vm)))
}
