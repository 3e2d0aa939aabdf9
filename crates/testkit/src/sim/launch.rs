//! Launches, as a cloud carries them out.

use kiln_driver::{DriverError, ErrorClass, LaunchRequest, Launched};
use kiln_engine::{POOL_LABEL, RUNNER_LABEL};
use kiln_pool::InstanceId;

use super::cloud::Fate;
use super::driver::error;
use super::fault::Fault;
use super::invariant;
use super::world::World;

/// The answer to a launch, and its delay after the effect.
type Answered = (Result<Vec<Launched>, DriverError>, i64);

impl World {
    /// Carries out a launch, for the first time or again.
    pub(super) fn launched(&mut self, runner: usize, driver: &str, request: &LaunchRequest) -> Answered {
        let pool = request.labels.get(POOL_LABEL).cloned().unwrap_or_default();
        if !request.labels.contains_key(RUNNER_LABEL) {
            self.violate("launch_is_labelled", format!("the launch of {} has no label of its runner", request.token));
        }
        if let Some(refused) = self.no_room(driver, &pool, request) {
            return refused;
        }
        let asked = format!("{:?}", (request.count, &request.place, &request.image, &request.spec, &request.network));
        let Some(cloud) = self.clouds.get_mut(driver) else { return (Err(error(ErrorClass::Invalid, "no cloud")), 0) };
        match cloud.tokens.get(&request.token) {
            Some(first) if *first != asked => {
                let what = format!("{} asked for {first} and asks for {asked}", request.token);
                self.violate("one_token_one_launch", what);
                (Err(error(ErrorClass::Invalid, "the token was used for something else")), 20)
            }
            Some(_) => self.launched_again(driver, request),
            None => {
                cloud.tokens.insert(request.token.clone(), asked);
                self.launched_first(runner, driver, &pool, request)
            }
        }
    }

    fn no_room(&mut self, driver: &str, pool: &str, request: &LaunchRequest) -> Option<Answered> {
        let cloud = self.clouds.get(driver)?;
        if cloud.full_for.iter().any(|full| full == pool) {
            return Some((Err(error(ErrorClass::Capacity, format!("no room for pool {pool}, ever"))), 50));
        }
        let full = cloud.full_places.contains(&request.place) && !cloud.tokens.contains_key(&request.token);
        full.then(|| (Err(error(ErrorClass::Capacity, format!("no room in {}, ever", request.place))), 50))
    }

    fn launched_again(&mut self, driver: &str, request: &LaunchRequest) -> Answered {
        let now = self.now_ms();
        let Some(cloud) = self.clouds.get(driver) else { return (Ok(Vec::new()), 0) };
        let there = request.ids().filter_map(|id| cloud.vms.get(&id)).filter(|vm| vm.exists());
        let (launched, addressed): (Vec<_>, Vec<_>) = there.map(|vm| (vm.launched_at(now), vm.addressed_ms)).unzip();
        match addressed.into_iter().max() {
            Some(addressed_ms) => (Ok(launched), (addressed_ms - now).max(0) + 10),
            None => (Err(error(ErrorClass::Invalid, "a token launches once")), 10),
        }
    }

    fn launched_first(&mut self, runner: usize, driver: &str, pool: &str, request: &LaunchRequest) -> Answered {
        let part = request.count > 1 && self.strikes(Fault::PartialFill);
        let count =
            if part { 1 + self.rng.below(u64::from(request.count - 1)) as usize } else { request.count as usize };
        let (now, ids) = (self.now_ms(), request.ids().take(count).collect::<Vec<_>>());
        let (mut launched, mut after) = (Vec::new(), 0);
        for id in ids {
            let (vm, addressed_ms) = self.make_vm(runner, driver, pool, &id, request);
            launched.extend(vm);
            after = after.max(addressed_ms - now);
        }
        let late = launched.iter().any(|launched| launched.reach.is_none());
        (Ok(launched), if late { 50 } else { after })
    }

    fn make_vm(
        &mut self,
        runner: usize,
        driver: &str,
        pool: &str,
        id: &str,
        request: &LaunchRequest,
    ) -> (Option<Launched>, i64) {
        let now = self.now_ms();
        let hidden = if self.strikes(Fault::DelayedVisibility) { self.rng.between(1_000, 60_000) } else { 0 };
        let address_late = self.strikes(Fault::AddressLate);
        let addressed_ms = now + if address_late { self.rng.between(1_000, 30_000) } else { self.delay(1_000) };
        let never = self.strikes(Fault::BootNeverEnds);
        let boots_ms = addressed_ms + self.delay(5_000);
        let fate = Fate { visible_ms: now + hidden, addressed_ms, boots_ms: (!never).then_some(boots_ms) };
        let late = self.rows.instances.get(&InstanceId::new(id)).is_none_or(|row| !row.is_live());
        let Some(cloud) = self.clouds.get_mut(driver) else { return (None, now) };
        let vm = cloud.make(id, &request.image, request.labels.clone(), now, fate);
        vm.late = late;
        let launched = if address_late { vm.launched_at(now) } else { vm.launched() };
        self.say(&format!("{driver} vm {id} is made{}", if never { " fault boot_never_ends" } else { "" }));
        invariant::made(self, runner, pool, id);
        (Some(launched), addressed_ms)
    }
}
