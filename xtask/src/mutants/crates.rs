//! Mistakes that a crate's tests must notice, outside of the crates of the simulated world.

use super::mutant::Mutant;
use super::suite::{
    AGENT_CLIENT, AGENT_EPOCH, AGENT_RESTARTS, AGENT_SECRETS, AGENT_SELF_TEST, AGENT_SETTINGS, AGENT_SPOOL,
    AGENT_STEP_USER, AGENT_TAMPERING, DRIVER, MASK, OUTPUT_TEXT, RUN_CANCEL, RUN_DRONE, RUN_LOSS, RUN_SECRETS, RUNNER,
    RUNNER_GUARD, RUNNER_HEALTH, RUNNER_READERS, RUNNER_READY, RUNNER_RESTARTS, SOURCES, STORE, STORE_BREAKAGE,
    STORE_GROUPS, STORE_PLACE, STORE_ROWS, TALLY,
};

/// All mistakes.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "the database does not keep a pool's limit",
        suite: STORE,
        edits: &[("store/src/instances.rs", "AND state <> 'gone') < $28", "AND state <> 'gone') < $28 + 1000")],
    },
    Mutant {
        name: "a late change of an instance is written",
        suite: STORE,
        edits: &[("store/src/instances.rs", "WHERE id = $1 AND generation = $8 - 1", "WHERE id = $1 AND $8 > 0")],
    },
    Mutant {
        name: "the newest instance is claimed first",
        suite: STORE,
        edits: &[("store/src/claim.rs", "ORDER BY created_ms, id LIMIT 1", "ORDER BY created_ms DESC, id LIMIT 1")],
    },
    Mutant {
        name: "ends on a full disk make the database well",
        suite: STORE_BREAKAGE,
        edits: &[("store/src/writes.rs", "if trouble.is_some() && !self.is_short() {", "if trouble.is_some() {")],
    },
    Mutant {
        name: "a full disk is healthy",
        suite: RUNNER_HEALTH,
        edits: &[(
            "runner/src/http/lookup.rs",
            "trouble.lasts >= api.settings.unwritten_for)",
            "trouble.lasts >= api.settings.unwritten_for && !trouble.why.contains(\"full\"))",
        )],
    },
    Mutant {
        name: "patience with a silent agent began when its step did",
        suite: AGENT_CLIENT,
        edits: &[(
            "agent-client/src/lib.rs",
            "let mut silent_since = None;",
            "let mut silent_since = Some(Instant::now());",
        )],
    },
    Mutant {
        name: "the beginning of a token is enough",
        suite: RUNNER,
        edits: &[("runner/src/http/auth.rs", "usize::from(ours.len() != shown.len())", "0")],
    },
    Mutant {
        name: "pages of other sites may call",
        suite: RUNNER_GUARD,
        edits: &[("runner/src/http/origin.rs", "        if !own {", "        if !own && false {")],
    },
    Mutant {
        name: "an instance that cannot run a step is ready",
        suite: RUNNER_READY,
        edits: &[(
            "runner/src/agents.rs",
            "ReadyWhen::Proven => match own.self_test().await? {",
            "ReadyWhen::Proven => match own.self_test().await.unwrap_or(SelfTest::Unknown) {",
        )],
    },
    Mutant {
        name: "a self-test leaves its output behind",
        suite: AGENT_SELF_TEST,
        edits: &[("agent/src/agent/self_test/trace.rs", "        self.0.remove();", "        let _kept = &self.0;")],
    },
    Mutant {
        name: "a refusal quotes a secret",
        suite: AGENT_SECRETS,
        edits: &[("agent/src/http/reply.rs", "secrets.mask(ErrorBody", "Secrets::default().mask(ErrorBody")],
    },
    Mutant {
        name: "steps see the settings of the agent",
        suite: AGENT_SETTINGS,
        edits: &[(
            "agent/src/settings.rs",
            "!names.contains(name)).collect()",
            "!names.contains(name) || true).collect()",
        )],
    },
    Mutant {
        name: "what a disk took of a write that failed is not counted",
        suite: AGENT_SPOOL,
        edits: &[(
            "agent/src/spool/writer.rs",
            "self.state.len += more as u64;",
            "self.state.len += if written == bytes.len() { more as u64 } else { 0 };",
        )],
    },
    Mutant {
        name: "room for the end of the output is not set aside",
        suite: AGENT_SPOOL,
        edits: &[(
            "agent/src/spool/writer.rs",
            "        self.reserve(self.state.len + wanted + END_BYTES)",
            "        self.reserve(self.state.len + wanted)",
        )],
    },
    Mutant {
        name: "of secrets that overlap a part remains",
        suite: MASK,
        edits: &[("mask/src/stream.rs", "to.max(last.1));", "last.1);")],
    },
    Mutant {
        name: "an agent is trusted to mask what its step prints",
        suite: RUN_SECRETS,
        edits: &[(
            "executor/src/attempt.rs",
            "Masker::new(Arc::clone(&place.run.secrets))",
            "Masker::new(Arc::default())",
        )],
    },
    Mutant {
        name: "credentials in a repository's settings enter VMs",
        suite: SOURCES,
        edits: &[("executor/src/workspace/settings.rs", "    if out {", "    if out && false {")],
    },
    Mutant {
        name: "a step is not started again when the connection breaks",
        suite: RUN_LOSS,
        edits: &[(
            "executor/src/attempt.rs",
            "again(place.patience(), || place.agent.start_step(request));",
            "place.agent.start_step(request);",
        )],
    },
    Mutant {
        name: "a step runs again on an instance that is gone",
        suite: RUN_LOSS,
        edits: &[(
            "executor/src/step.rs",
            "Decision::Retry(_) if kind == ErrorKind::Infrastructure => Decision::Fail",
            "Decision::Retry(_) if kind == ErrorKind::Infrastructure && attempt > 3 => Decision::Fail",
        )],
    },
    Mutant {
        name: "a run that is cancelled waits for its sources to be sent",
        suite: RUN_CANCEL,
        edits: &[(
            "executor/src/stage.rs",
            "            () = self.context.cancel.cancelled() => Err(self.cancelled()),",
            "            () = std::future::pending() => Err(self.cancelled()),",
        )],
    },
    Mutant {
        name: "the status of a Drone step is that of what it needs",
        suite: RUN_DRONE,
        edits: &[(
            "executor/src/walk.rs",
            "Sight::Ended => ends.iter().copied().flatten().fold(before, End::and),",
            "Sight::Ended => needed,",
        )],
    },
    Mutant {
        name: "an exit code of 78 fails its step",
        suite: RUN_DRONE,
        edits: &[("executor/src/outcome.rs", "        if ends {", "        if ends && false {")],
    },
    Mutant {
        name: "a fast failure lets the steps beside it go on",
        suite: RUN_DRONE,
        edits: &[("executor/src/step.rs", "Decision::EndStage => self.end(&name),", "Decision::EndStage => {}")],
    },
    Mutant {
        name: "a character that two pieces of output share is lost",
        suite: OUTPUT_TEXT,
        edits: &[(
            "executor/src/text.rs",
            "let Some(wrong) = error.error_len() else { break };",
            "let wrong = error.error_len().unwrap_or(1);",
        )],
    },
    Mutant {
        name: "test cases that passed leave no room for one that failed",
        suite: TALLY,
        edits: &[(
            "test-report/src/tally.rs",
            "let room = if is_broken(case.result) || case.flaky {",
            "let room = if is_broken(case.result) && false {",
        )],
    },
    Mutant {
        name: "a stranger with a leftover's pid is killed",
        suite: DRIVER,
        edits: &[("driver-qemu/src/clone/reap.rs", "if !ours(&process) {", "if !ours(&process) && !process.lives() {")],
    },
    Mutant {
        name: "what a living owner runs is taken for left over",
        suite: DRIVER,
        edits: &[(
            "driver-qemu/src/clone/reap.rs",
            "let Ok(_dead) = lock::take_existing(&dir.join(OWNER_LOCK)) else { continue };",
            "let _dead = lock::take_existing(&dir.join(OWNER_LOCK));",
        )],
    },
    Mutant {
        name: "a VM that is to outlive its process ends with it",
        suite: DRIVER,
        edits: &[("driver-qemu/src/vm/process.rs", "if !self.outlives_us {", "if !self.outlives_us || true {")],
    },
    Mutant {
        name: "a known stage that waits is not served when it asks again",
        suite: STORE,
        edits: &[(
            "store/src/stages.rs",
            "if there.state != StageState::Waiting {",
            "if there.state != StageState::Waiting || !fresh {",
        )],
    },
    Mutant {
        name: "what ends is not written on a full disk",
        suite: STORE_GROUPS,
        edits: &[("store/src/grouped.rs", "all[*n].ends() && answers", "false && all[*n].ends() && answers")],
    },
    Mutant {
        name: "a write that is refused takes the others with it",
        suite: STORE_GROUPS,
        edits: &[("store/src/grouped.rs", "if all.len() == 1 || !written", "if true || !written")],
    },
    Mutant {
        name: "readers that do not read are never hung up on",
        suite: RUNNER_READERS,
        edits: &[(
            "runner/src/http/connection.rs",
            "Some(connected.unread_for)",
            "Some(connected.unread_for).filter(|_| false)",
        )],
    },
    Mutant {
        name: "disk that other VMs were promised is given away",
        suite: DRIVER,
        edits: &[(
            "driver-qemu/src/host/room.rs",
            "promised.owed_bytes.saturating_add(self.disk_reserve_bytes)",
            "self.disk_reserve_bytes",
        )],
    },
    Mutant {
        name: "one row that cannot be read hides all others",
        suite: STORE_ROWS,
        edits: &[(
            "store/src/unreadable.rs",
            "Err(fault) => drop(bad.insert((subject, row.text(0)?), fault.to_string())),",
            "Err(fault) => return bad.insert((subject, row.text(0)?), fault.to_string()).map_or(Err(fault), |_| Ok(good)),",
        )],
    },
    Mutant {
        name: "a database server elsewhere is believed without proof",
        suite: STORE_PLACE,
        edits: &[("store/src/place.rs", "ssl_mode(PgSslMode::VerifyFull)", "ssl_mode(PgSslMode::Prefer)")],
    },
    Mutant {
        name: "a self-test does not look at what its step handed over",
        suite: AGENT_SELF_TEST,
        edits: &[("agent/src/agent/self_test.rs", "if got != value {", "if got != value && got.len() > value.len() {")],
    },
    Mutant {
        name: "an agent that starts again looks for no journal",
        suite: AGENT_RESTARTS,
        edits: &[(
            "agent/src/journal/found.rs",
            "Ok(text) => Some(Self { dir: dir.into(), ..Self::of(&text) }),",
            "Ok(_) => None,",
        )],
    },
    Mutant {
        name: "what ran under an agent that died goes on",
        suite: AGENT_RESTARTS,
        edits: &[("agent/src/server.rs", "        agent.end_left().await;\n", "")],
    },
    Mutant {
        name: "calls for another stage are served",
        suite: AGENT_EPOCH,
        edits: &[(
            "agent/src/agent/over.rs",
            "if stage.epoch() == given || unknown {",
            "if stage.epoch() == given || !unknown {",
        )],
    },
    Mutant {
        name: "what a step does to the agent counts for nothing",
        suite: AGENT_TAMPERING,
        edits: &[(
            "agent/src/agent/over.rs",
            "if let Some(what) = self.journal.damage().or_else(|| step.spool.damage()) {",
            "if let Some(what) = step.spool.damage().filter(|what| what.is_empty()) {",
        )],
    },
    Mutant {
        name: "a workspace belongs to the agent",
        suite: AGENT_STEP_USER,
        edits: &[("agent/src/archive/unpack.rs", "        let _acting = account.as_ref().map(Account::act);\n", "")],
    },
    Mutant {
        name: "an agent's word that it was started again ends nothing",
        suite: RUNNER_RESTARTS,
        edits: &[(
            "pool/src/plan/instances.rs",
            "over.filter(|_| !self.instance.is_held(self.input.now_ms))",
            "over.filter(|_| false)",
        )],
    },
    Mutant {
        name: "a runner names its stage to no agent",
        suite: RUNNER_RESTARTS,
        edits: &[("runner/src/agents.rs", "|stage| agent.for_stage(stage.as_str())", "|_| agent.clone()")],
    },
];
