//! Mistakes that the simulated world must notice.

use super::mutant::Mutant;
use super::suite::Suite;

macro_rules! mutants {
    ($($name:literal: $([$file:literal, $text:literal, $with:literal])+;)*) => {
        /// All mistakes.
        pub const MUTANTS: &[Mutant] = &[$(Mutant { name: $name, suite: Suite::Simulation, edits: &[$(($file, $text, $with)),+] },)*];
    };
}

mutants! {
    "no intent before a launch":
        ["engine/src/work.rs", r#"Ok(self.store.update_instance(&next, "its site is asked for it").await?.then_some(next))"#, "Ok(Some(next))"];
    "a launch leaves before its rows are flushed":
        ["engine/src/work.rs", "        self.store.flush().await?;\n        let outcome", "        let outcome"];
    "a caller is told of a claim before it is flushed":
        ["engine/src/stages.rs", "                self.store.flush().await?;\n                outcome", "                outcome"];
    "the limits are not given to the store":
        ["engine/src/act.rs", "Limits { pool: pool.limit, flavor: flavor.limit }", "Limits { pool: u32::MAX, flavor: None }"]
        ["pool/src/plan/census.rs", "self.live += 1;", "self.live += u32::from(!matches!(state, State::Launching));"];
    "an instance that ends does not count":
        ["engine/src/act.rs", "Limits { pool: pool.limit, flavor: flavor.limit }", "Limits { pool: u32::MAX, flavor: None }"]
        ["pool/src/plan/census.rs", "self.live += 1;", "self.live += u32::from(!ends);"];
    "a hold does not outlive the stage":
        ["pool/src/plan/instances.rs", "        if self.instance.is_held(self.input.now_ms) {
            return None;
        }", ""];
    "a held warm instance is ended":
        ["pool/src/plan/instances.rs", "            return self.too_old().map(|cause| self.terminate(cause));", ""];
    "a pool that went from the file is left alone":
        ["engine/src/pass.rs", "uptime - **since > MISSING_AFTER_MS", "uptime - **since > i64::MAX - MISSING_AFTER_MS"];
    "a superseded process goes on":
        ["engine/src/leases.rs", "self.memory().leases = Leases { superseded: true, ..Leases::default() };", ""];
    "a lease is taken while it is renewed":
        ["engine/src/leases.rs", "map(|name| (name.clone(), still(name, LEASE_MS)))", "map(|name| (name.clone(), still(name, 0)))"];
    "what another database made is left alone":
        ["engine/src/sites.rs", "if driver.abilities().lists_others {", "if driver.abilities().lists_others || true {"];
    "an instance without a label is taken for ours":
        ["engine/src/sites.rs", "listed.retain(|l| l.labels.get(INSTALLATION_LABEL) == Some(&self.installation));", "listed.retain(|l| l.labels.get(INSTALLATION_LABEL).is_none_or(|of| *of == self.installation));"];
    "orphans are never ended":
        ["pool/src/plan/instances.rs", "let unknown = !known.contains(*id) &&", "let unknown = false && !known.contains(*id) &&"];
    "a restart ends what boots":
        ["pool/src/plan/instances.rs", "(self.input.now_ms - self.instance.since_ms).min(self.input.watched_ms)", "(self.input.now_ms - self.instance.since_ms)"];
    "what is worked on is worked on again":
        ["engine/src/work.rs", "if ids.iter().any(|id| memory.busy.contains(id)) {", "if false {"]
        ["pool/src/plan/instances.rs", "input.leases.contains(&pool_lease(&i.pool, &i.site)) && !input.busy.contains(&i.id)", "input.leases.contains(&pool_lease(&i.pool, &i.site))"];
    "a lost launch is not adopted":
        ["engine/src/act.rs", "Some(launched) => self.launched(row, &launched, reason).await.map(drop)", "Some(_) => Ok(())"];
    "an end overwrites a newer row":
        ["engine/src/work.rs", "        let Some(next) = row.terminating(cause.clone(), now) else { return Ok(false) };", "        let fresh = self.store.instance(&row.id).await?;
        let row = fresh.as_ref().unwrap_or(row);
        let Some(next) = row.terminating(cause.clone(), now) else { return Ok(false) };"];
    "a busy instance is ended when one listing misses it":
        ["pool/src/plan/instances.rs", "            && silent > limit", "            && (silent > limit || true)"]
        ["pool/src/plan/instances.rs", "(unseen > limit).then(|| Cause::new(code,", "(unseen >= 0).then(|| Cause::new(code,"];
    "unseen is judged at once":
        ["pool/src/plan/instances.rs", "(unseen > limit).then(|| Cause::new(code,", "(unseen >= 0).then(|| Cause::new(code,"];
    "the end of a stage does not release":
        ["engine/src/act.rs", "Some(row) => self.release(row, stage).await,", "Some(_) => { let _ = stage; Ok(()) }"];
    "a waiting stage is dropped at a restart":
        ["pool/src/plan/stages.rs", "if input.now_ms > stage.wait_until_ms {", "if input.now_ms > stage.wait_until_ms || input.uptime_ms < 20_000 {"];
    "the breaker is ignored":
        ["pool/src/plan/breaker.rs", "_ if (1..=PAUSE_MAX_MS).contains(&(self.until_ms - now_ms)) => 0,", ""]
        ["pool/src/plan/breaker.rs", "failures if failures >= HALF_OPEN_AT => 1,", "failures if failures >= HALF_OPEN_AT => { let _ = now_ms; 1 }"];
    "gone before the cloud answered":
        ["engine/src/work.rs", "            Ok(()) => match row.become_(State::Gone, now) {", "            Ok(()) | Err(_) => match row.become_(State::Gone, now) {"];
    "fallbacks are never used":
        ["pool/src/plan/stages.rs", "stage.candidates.iter().filter(there).find(viable).or_else(|| stage.candidates.iter().find(there))", "{ let _ = viable; stage.candidates.iter().find(there) }"];
    "a drained pool is filled":
        ["pool/src/plan/sizing.rs", "let demand = if drained { 0 } else { demand.get(&kind).copied().unwrap_or(0) };", "let demand = demand.get(&kind).copied().unwrap_or(0);"]
        ["pool/src/plan/sizing.rs", "image == flavor.launch.image && !drained", "image == flavor.launch.image"];
    "no age is too great":
        ["pool/src/plan/instances.rs", "(age_s > i64::from(max_age_s)).then(", "(age_s > i64::MAX - 1 - i64::from(max_age_s)).then("]
        ["pool/src/plan/instances.rs", "if age_s > i64::from(pool.ages.free_max_age_s) {", "if age_s > i64::MAX - i64::from(pool.ages.free_max_age_s) {"];
    "a stage's deadline is ignored":
        ["pool/src/plan/stages.rs", "if since > stage.run_ms {", "if since > i64::MAX - 1 {"];
    "the rows are read before the listings":
        ["engine/src/pass.rs", "        let snapshots = self.snapshots();
        let rows = self.read().await?;", "        let rows = self.read().await?;
        let snapshots = self.snapshots();"];
    "the stages are read before the instances":
        ["engine/src/pass.rs", "        let instances = self.store.live_instances().await?;
        let stages = self.store.open_stages().await?;", "        let stages = self.store.open_stages().await?;
        let instances = self.store.live_instances().await?;"];
    "silence is counted by the wall clock":
        ["engine/src/health.rs", "memory.failing_since.entry(id.clone()).or_insert(uptime);", "memory.failing_since.entry(id.clone()).or_insert(now);"]
        ["engine/src/pass.rs", "memory.failing_since.get(id).map(|since| now - (uptime - since))", "{ let _ = (now, uptime); memory.failing_since.get(id).copied() }"];
    "what others made is taken for ours":
        ["engine/src/sites.rs", "if driver.abilities().lists_others {", "if false {"];
    "an old listing judges a newer row":
        ["pool/src/plan/mod.rs", "self.changed_ms.get(id).is_none_or(|changed| asked_ms > *changed)", "self.changed_ms.get(id).is_none_or(|changed| asked_ms > *changed || true)"];
    "a token is used for another batch":
        ["engine/src/work.rs", "            count: first.batch_size,", "            count: u32::try_from(rows.len()).unwrap_or(1),"];
    "addresses that come late never come":
        ["pool/src/plan/instances.rs", "let told = self.seen().is_some_and(|seen| seen.addressed);", "let told = false && self.seen().is_some_and(|seen| seen.addressed);"]
        ["pool/src/plan/instances.rs", "if self.age_here_ms() > self.input.config.timing.boot_timeout_ms {
            let (seconds, tries)", "if self.age_here_ms() > i64::MAX - self.input.config.timing.boot_timeout_ms {
            let (seconds, tries)"];
    "stale rows put what serves a stage to sleep":
        ["engine/src/pass.rs", "        let mut busy = self.busy_now();", "        let mut busy: BTreeSet<InstanceId> = self.memory().resting_ms.keys().cloned().collect();"]
        ["engine/src/work.rs", "        let Some(mut next) = next else { return Ok(None) };
        next.runner.clone_from(&self.me.name);", "        if row.state == state { return Ok(Some(row.clone())) }
        let Some(mut next) = next else { return Ok(None) };
        next.runner.clone_from(&self.me.name);"];
    "orphans that are shown on are ended on and on":
        ["engine/src/work.rs", "busy.engine.memory().resting_ms.insert(id, until);", "let _ = until;"];
    "what is gone is changed":
        ["engine/src/operator.rs", "if row.hold_until_ms.is_none() || matches!(row.state, State::Terminating | State::Gone) {", "if row.hold_until_ms.is_none() {"];
    "a stage that could not be set up keeps its instance":
        ["engine/src/stages.rs", "            self.terminate(&row, cause).await?;", "            drop((row, cause));"]
        ["pool/src/plan/instances.rs", "return elsewhere.then(||", "return (elsewhere && false).then(||"];
    "a stage whose instance died goes on":
        ["pool/src/plan/stages.rs", "if by_id.get(instance).is_none_or(|i| i.state != State::Claimed) {", "if false {"];
    "a repeated setup makes another stage wait":
        ["engine/src/stages.rs", "                (StageState::Assigned, Some(instance)) => return Ok(Assigned { stage, instance }),", "                (StageState::Assigned, Some(instance)) if stage.attempts == 0 => return Ok(Assigned { stage, instance }),"];
    "an outage of the store counts as silence of what starts":
        ["engine/src/pass.rs", "self.failing_since_ms.is_some_and(|since| uptime_ms - since > WATCH_BREAK_MS)", "self.failing_since_ms.is_some_and(|since| uptime_ms - since > i64::MAX - WATCH_BREAK_MS)"];
    "work whose outcome cannot be written is repeated at once":
        ["engine/src/work.rs", "let until = engine.host.uptime_ms() + UNWRITTEN_PAUSE_MS;", "let until = engine.host.uptime_ms() + 0 * UNWRITTEN_PAUSE_MS;"];
    "while the rows cannot be read no agent is asked":
        ["engine/src/health.rs", r#"tracing::warn!(%error, "the rows cannot be read; the latest known agents are asked");"#, "let _ = error;
                self.memory().contacts.clear();"];
    "agents are asked under leases that last only":
        ["engine/src/health.rs", "let leases = memory.leases.last_known();", "let leases = memory.leases.held(self.host.uptime_ms());"];
    "a ready agent's silence is not judged":
        ["pool/src/plan/instances.rs", "self.silent_ms().filter(|silent| *silent > limit)", "self.silent_ms().filter(|silent| *silent > i64::MAX - limit)"];
    "what is not made yet is missing":
        ["engine/src/sites.rs", "i.site == *id && !matches!(i.state, State::Intended | State::Launching);", "i.site == *id;"];
}
