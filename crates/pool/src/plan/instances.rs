//! Decisions about each instance that has a row, and about orphans.

use std::collections::{BTreeMap, BTreeSet};

use crate::cause::{Cause, Code};
use crate::config::{Ages, Flavor, Pool};
use crate::id::{InstanceId, StageId};
use crate::instance::{Instance, State};
use crate::life::{End, EndKind, Life};
use crate::plan::{Action, Input, Planned, Seen, SiteView, pool_lease, sweep_lease};
use crate::stage::Stage;

/// Time without a change after which a row of another runner is taken over.
const TAKE_OVER_AFTER_MS: i64 = 60_000;

/// One instance among everything that was observed.
struct Case<'a> {
    input: &'a Input<'a>,
    open: &'a BTreeMap<&'a StageId, &'a Stage>,
    instance: &'a Instance,
    site: &'a SiteView,
    /// Whether some instances of its batch have ended. Its launch is not repeated then, because that would make them
    /// again.
    batch_is_broken: bool,
    flavor: Option<(&'a Pool, &'a Flavor)>,
}

/// Returns the actions on rows. Rows whose site is not open here are left alone: only a runner that sees an instance
/// may judge it.
pub(super) fn judge(input: &Input<'_>) -> Vec<Planned> {
    let ours = |i: &&Instance| input.leases.contains(&pool_lease(&i.pool, &i.site)) && !input.busy.contains(&i.id);
    let open: BTreeMap<&StageId, &Stage> = input.stages.iter().map(|stage| (&stage.id, stage)).collect();
    let mut whole: BTreeMap<&str, u32> = BTreeMap::new();
    for instance in input.instances.iter().filter(|i| i.state != State::Terminating) {
        *whole.entry(&instance.token).or_default() += 1;
    }
    input
        .instances
        .iter()
        .filter(ours)
        .filter_map(|instance| {
            let flavor = input.config.pools.get(&instance.pool).and_then(|p| Some((p, p.flavor(&instance.flavor)?)));
            let site = input.sites.get(&instance.site)?;
            let whole = whole.get(instance.token.as_str()).copied().unwrap_or(0);
            let batch_is_broken = whole < instance.batch_size;
            Case { input, open: &open, instance, site, batch_is_broken, flavor }.judge()
        })
        .collect()
}

/// Returns the actions on instances that a site shows and that have no row.
pub(super) fn orphans(input: &Input<'_>) -> Vec<Planned> {
    let mut known: BTreeSet<&InstanceId> = input.instances.iter().map(|instance| &instance.id).collect();
    known.extend(input.unreadable);
    let mut planned = Vec::new();
    for (site, view) in input.sites.iter().filter(|(site, _)| input.leases.contains(&sweep_lease(site))) {
        let Some(listing) = &view.listing else { continue };
        let orphaned = |(id, seen): &(&InstanceId, &Seen)| {
            let unknown = !known.contains(*id) && !input.busy.contains(*id);
            unknown && seen.life.needs_an_end() && input.noticed.is_after_end(id, listing.asked_ms)
        };
        planned.extend(listing.seen.iter().filter(orphaned).map(|(id, _)| {
            let action = Action::DestroyOrphan { site: site.clone(), id: id.clone() };
            action.because("its site shows it, but it has no row, or its row says that it is gone")
        }));
    }
    planned
}

impl Case<'_> {
    fn judge(&self) -> Option<Planned> {
        match self.instance.state {
            State::Intended => self.intended(),
            State::Launching => self.launching(),
            State::Booting => self.booting(),
            State::Ready => self.ready(),
            State::Hibernating | State::Resuming => self.turning(),
            State::Hibernated => self.hibernated(),
            State::Claimed => self.claimed(),
            State::Terminating => self.terminating(),
            State::Gone => None,
        }
    }

    fn intended(&self) -> Option<Planned> {
        if let Some(cause) = self.out_of_place().or_else(|| self.outdated()) {
            return Some(self.terminate(cause));
        }
        if self.batch_is_broken {
            return self.rest_of_batch();
        }
        let (id, generation) = self.seen_row();
        self.free_to_work()
            .then(|| Action::Launch { id, generation }.because("its row is written and its launch is due"))
    }

    fn launching(&self) -> Option<Planned> {
        let (id, generation) = self.seen_row();
        if self.flavor.is_none() {
            return self.out_of_place().map(|cause| self.terminate(cause));
        }
        if let Some(end) = self.end() {
            return Some(self.terminate(end.cause(Code::LaunchFailed)));
        }
        match self.seen() {
            Some(seen) if seen.launched => {
                Some(Action::Adopt { id, generation }.because("its site shows it; the answer to its launch was lost"))
            }
            _ if self.age_here_ms() > self.input.config.timing.launch_timeout_ms => {
                let tries = self.instance.attempts;
                Some(self.terminate(Cause::new(Code::LaunchTimeout, format!("no answer after {tries} tries"))))
            }
            _ if self.batch_is_broken => self.rest_of_batch(),
            // A token must not ask for two different things. A listing or the timeout will tell the outcome.
            _ if self.outdated().is_some() => None,
            _ => {
                self.free_to_work().then(|| Action::Launch { id, generation }.because("its launch has no outcome yet"))
            }
        }
    }

    /// Ends an instance whose launch has no outcome when a listing newer than its row does not show it.
    fn rest_of_batch(&self) -> Option<Planned> {
        let listing = self.site.listing.as_ref()?;
        let current = self.input.noticed.is_current(&self.instance.id, listing.asked_ms);
        let cause = || Cause::new(Code::LaunchFailed, "others of its batch have ended, and its site does not show it");
        current.then(|| self.terminate(cause()))
    }

    fn booting(&self) -> Option<Planned> {
        if let Some(end) = self.end_unasked() {
            return Some(self.terminate(end.cause(Code::DiedBooting)));
        }
        if let Some(cause) = self.missing(Code::DiedBooting) {
            return Some(self.terminate(cause));
        }
        if self.age_here_ms() > self.input.config.timing.boot_timeout_ms {
            let (seconds, tries) = (self.age_here_ms() / 1000, self.instance.attempts);
            let evidence = match self.instance.address {
                Some(_) => format!("its agent did not answer within {seconds} s, {tries} tries"),
                None => format!("its site did not report its address within {seconds} s"),
            };
            return Some(self.terminate(Cause::new(Code::BootTimeout, evidence)));
        }
        let (id, generation) = self.seen_row();
        if self.instance.address.is_none() {
            let told = self.seen().is_some_and(|seen| seen.addressed);
            return told.then(|| Action::Adopt { id, generation }.because("its site reports its address"));
        }
        self.free_to_work().then(|| Action::Boot { id, generation }.because("it exists; its agent is contacted"))
    }

    fn ready(&self) -> Option<Planned> {
        if let Some(end) = self.end_unasked() {
            return Some(self.terminate(end.cause(Code::Died)));
        }
        if let Some(cause) = self.agent_is_over() {
            return Some(self.terminate(cause));
        }
        if let Some(planned) = self.gone_missing() {
            return Some(planned);
        }
        let limit = self.input.config.timing.unreachable_after_ms;
        if let Some(silent) = self.silent_ms().filter(|silent| *silent > limit) {
            let evidence = format!("its agent has not answered for {} s", silent / 1000);
            return Some(self.terminate(Cause::new(Code::Unreachable, evidence)));
        }
        self.unwanted()
    }

    /// Handles an instance that is falling asleep or waking. The work is repeated until it is done or takes too long.
    fn turning(&self) -> Option<Planned> {
        if let Some(end) = self.end() {
            return Some(self.terminate(end.cause(Code::Died)));
        }
        if let Some(planned) = self.gone_missing() {
            return Some(planned);
        }
        if self.age_here_ms() > self.input.config.timing.boot_timeout_ms {
            let evidence = format!("it is {} for {} s", self.instance.state, self.age_here_ms() / 1000);
            return Some(self.terminate(Cause::new(Code::HibernateFailed, evidence)));
        }
        let (id, generation) = self.seen_row();
        let action = match self.instance.state {
            State::Hibernating => Action::Hibernate { id, generation },
            _ => Action::Resume { id, generation },
        };
        self.free_to_work().then(|| action.because("it was begun and is not finished"))
    }

    fn hibernated(&self) -> Option<Planned> {
        if let Some(end) = self.end() {
            return Some(self.terminate(end.cause(Code::Died)));
        }
        self.gone_missing().or_else(|| self.unwanted())
    }

    fn claimed(&self) -> Option<Planned> {
        if let Some(end) = self.end_unasked() {
            return Some(self.terminate(end.cause(Code::Died)));
        }
        if let Some(cause) = self.agent_is_over() {
            return Some(self.terminate(cause));
        }
        // A listing may be incomplete, so an instance is lost only if it is silent as well.
        let limit = self.input.config.timing.vanished_after_ms;
        if let (Some(cause), Some(silent)) = (self.missing(Code::Vanished), self.silent_ms())
            && silent > limit
        {
            return Some(self.terminate(cause));
        }
        if let Some(cause) = self.too_old() {
            return Some(self.terminate(cause));
        }
        let stage = self.instance.stage.as_ref()?;
        // Instances are read before stages, so a stage that is not among the open ones has ended.
        if let Some(open) = self.open.get(stage) {
            // A stage whose first instance could not be set up continues on another one.
            let elsewhere = open.instance.as_ref() != Some(&self.instance.id);
            return elsewhere.then(|| self.terminate(Cause::new(Code::SetupFailed, "its stage continues without it")));
        }
        if self.instance.is_held(self.input.now_ms) {
            return None;
        }
        let (id, generation) = self.seen_row();
        Some(Action::Release { id, generation, stage: stage.clone() }.because("its stage ended"))
    }

    fn terminating(&self) -> Option<Planned> {
        let due = self.instance.is_due(self.input.now_ms);
        let (id, generation) = self.seen_row();
        due.then(|| Action::Destroy { id, generation }.because("it is to end"))
    }

    /// Ends an instance that has been in no listing for too long. This is for instances that no stage depends on.
    fn gone_missing(&self) -> Option<Planned> {
        self.missing(Code::Vanished).map(|cause| self.terminate(cause))
    }

    /// Ends an instance that nobody wants any more, or not in its present form.
    fn unwanted(&self) -> Option<Planned> {
        if self.instance.is_held(self.input.now_ms) {
            return self.too_old().map(|cause| self.terminate(cause));
        }
        let cause = self.too_old().or_else(|| self.out_of_place()).or_else(|| {
            let (pool, _) = self.flavor?;
            let age_s = (self.input.now_ms - self.instance.created_ms) / 1000;
            if age_s > i64::from(pool.ages.free_max_age_s) {
                return Some(Cause::new(Code::FreeMaxAge, format!("nobody claimed it for {age_s} s")));
            }
            self.outdated()
        })?;
        Some(self.terminate(cause))
    }

    fn outdated(&self) -> Option<Cause> {
        let (_, flavor) = self.flavor?;
        let changed = flavor.launch.digest() != self.instance.digest;
        changed.then(|| Cause::new(Code::Outdated, "the pool file now describes a different instance"))
    }

    fn too_old(&self) -> Option<Cause> {
        let age_s = (self.input.now_ms - self.instance.created_ms) / 1000;
        let max_age_s = self.flavor.map_or(Ages::default().max_age_s, |(pool, _)| pool.ages.max_age_s);
        (age_s > i64::from(max_age_s)).then(|| Cause::new(Code::MaxAge, format!("it is {age_s} s old")))
    }

    fn out_of_place(&self) -> Option<Cause> {
        if self.flavor.is_none() {
            return Some(Cause::new(Code::Drained, "its pool or flavor is no longer in the pool file"));
        }
        let drained = self.input.drained.contains(&self.instance.pool);
        drained.then(|| Cause::new(Code::Drained, "its pool is drained"))
    }

    /// Returns the cause when no listing has shown the instance for too long.
    fn missing(&self, code: Code) -> Option<Cause> {
        let unseen = *self.site.listing.as_ref()?.unseen_ms.get(&self.instance.id)?;
        let limit = self.input.config.timing.vanished_after_ms;
        (unseen > limit).then(|| Cause::new(code, format!("no listing has shown it for {} s", unseen / 1000)))
    }

    /// Returns the agent's own reason why it serves no stage any more. None for a held instance: its operator wants to
    /// look at it.
    fn agent_is_over(&self) -> Option<Cause> {
        let over = self.input.health.get(&self.instance.id)?.over.clone();
        over.filter(|_| !self.instance.is_held(self.input.now_ms))
    }

    fn silent_ms(&self) -> Option<i64> {
        let health = self.input.health.get(&self.instance.id)?;
        Some((self.input.now_ms - health.failing_since_ms?).min(self.input.uptime_ms))
    }

    /// Returns how long the instance has been in its state while this process watched.
    fn age_here_ms(&self) -> i64 {
        (self.input.now_ms - self.instance.since_ms).min(self.input.watched_ms)
    }

    /// Returns the instance as the listing shows it, unless the row has changed since the listing was requested.
    fn seen(&self) -> Option<&Seen> {
        let listing = self.site.listing.as_ref()?;
        let current = self.input.noticed.is_current(&self.instance.id, listing.asked_ms);
        listing.seen.get(&self.instance.id).filter(|_| current)
    }

    /// Returns how the instance ended, from its driver's report or a listing.
    fn end(&self) -> Option<End> {
        let told = self.input.ends.get(&self.instance.id).cloned();
        told.or_else(|| self.seen().and_then(|seen| seen.life.end()))
    }

    /// Returns the end of an instance that should be awake. One that sleeps counts as ended.
    fn end_unasked(&self) -> Option<End> {
        let slept = |seen: &Seen| matches!(seen.life, Life::Stopping | Life::Asleep);
        let stopped =
            || self.seen().is_some_and(slept).then(|| End::new(EndKind::Unknown, "its site shows it as stopped"));
        self.end().or_else(stopped)
    }

    /// Tells whether this runner may work on the instance now: the pause after a failure is over, and no other runner
    /// works on it.
    fn free_to_work(&self) -> bool {
        let due = self.instance.is_due(self.input.now_ms);
        let touched = self.instance.since_ms.max(self.instance.retry_ms.unwrap_or(0));
        let left_alone = self.input.now_ms - touched > TAKE_OVER_AFTER_MS;
        due && (self.instance.runner == self.input.me || left_alone)
    }

    fn seen_row(&self) -> (InstanceId, i64) {
        (self.instance.id.clone(), self.instance.generation)
    }

    fn terminate(&self, cause: Cause) -> Planned {
        let (id, generation) = self.seen_row();
        let reason = cause.to_string();
        Action::Terminate { id, generation, cause }.because(reason)
    }
}
