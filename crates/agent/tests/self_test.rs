//! The self-test: a step that proves the machine, and of which nothing is left.

mod rig;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use futures::poll;
use kiln_agent::settings::Settings;
use kiln_wire::agent::SetupRequest;
use kiln_wire::agent::kiln::{Identity, SELF_TEST, SelfTestResponse, StepList};
use rig::{PATIENCE, Rig, content, step, until, until_dead};
use serde_json::json;

/// Everything below a directory: kind, permissions and content.
fn tree(dir: &Path) -> BTreeMap<String, (bool, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let (path, meta) = (entry.path(), entry.metadata().expect("its facts"));
        let bytes = if meta.is_dir() { Vec::new() } else { std::fs::read(&path).expect("a file") };
        found.insert(path.display().to_string(), (meta.is_dir(), meta.permissions().mode(), bytes));
        if meta.is_dir() {
            found.extend(tree(&path));
        }
    }
    found
}

/// Processes of steps of this agent: its paths are in their environment.
fn processes(rig: &Rig) -> usize {
    let mark = format!("DRONE_OUTPUT={}", rig.dir.path().display()).into_bytes();
    let environ = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    entries.map(environ).filter(|environ| environ.windows(mark.len()).any(|part| part == mark)).count()
}

async fn identity(rig: &Rig) -> Identity {
    rig.client.get("/kiln/v1/identity").await.json().await.expect("an identity")
}

/// Nothing is left of a self-test that ran.
async fn assert_no_trace(rig: &Rig, before: &BTreeMap<String, (bool, u32, Vec<u8>)>) {
    assert_eq!(&tree(rig.dir.path()), before);
    let list: StepList = rig.client.get("/kiln/v1/steps").await.json().await.expect("a list");
    assert_eq!(list.steps, []);
    assert!(!identity(rig).await.in_use);
    assert_eq!(processes(rig), 0);
}

/// Puts a program in the place of the shell.
fn shell(settings: &mut Settings, text: &str) {
    let bin = settings.engine_dir.with_file_name("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    let sh = bin.join("sh");
    std::fs::write(&sh, text).expect("a file");
    std::fs::set_permissions(&sh, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    settings.base_env.insert("PATH".into(), format!("{}:/usr/bin:/bin", bin.display()));
}

async fn passes(change: impl FnOnce(&mut Settings)) {
    let rig = Rig::with(change).await;
    let before = tree(rig.dir.path());
    for _ in 0..2 {
        let answer = rig.client.ok(SELF_TEST, &json!({})).await;
        let passed: SelfTestResponse = serde_json::from_value(answer).expect("an answer");
        assert!(passed.duration_ms < PATIENCE.as_millis() as u64);
        assert_no_trace(&rig, &before).await;
    }
    // What comes then is as it would have been: a first step, without anything of the other one.
    rig.client.ok("/setup", &json!({})).await;
    let end = rig.client.run(&step("s1", "env; cat /proc/self/cgroup")).await;
    assert_eq!(end.exit_code, 0, "{}", end.error);
    let output = rig.client.output("s1", 0).await;
    assert!(!output.contains("SELF_TEST") && !output.contains("self-test"), "{output}");
    let mark = output.lines().find_map(|line| line.strip_prefix("KILN_STEP_MARK=")).expect("a mark");
    assert!(mark.ends_with("-0"), "{mark}");
    assert_no_cgroup(&output, mark);
}

/// Where steps have cgroups, that of the self-test is gone.
fn assert_no_cgroup(output: &str, mark: &str) {
    let Some(own) = output.lines().find_map(|line| line.strip_prefix("0::/")).filter(|own| own.ends_with(mark)) else {
        return;
    };
    let parent = Path::new("/sys/fs/cgroup").join(own.trim_end_matches(mark));
    let beside = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let left: Vec<_> = beside.map(|e| e.file_name()).filter(|name| name.to_string_lossy().contains("self")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_sound_machine_passes_as_often_as_it_is_asked_and_nothing_is_left() {
    passes(|_| {}).await;
    passes(|settings| settings.cgroups = false).await;
    // Nothing is made for good that setup would make.
    passes(|settings| std::fs::remove_dir(&settings.engine_dir).expect("a directory")).await;
    // Output is kept below the directory that is not there.
    passes(|settings| {
        std::fs::write(&settings.state_dir, "in the way").expect("a file");
        std::fs::remove_dir(&settings.engine_dir).expect("a directory");
    })
    .await;
}

#[tokio::test]
async fn once_a_stage_was_set_up_it_is_refused() {
    let rig = Rig::start().await;
    rig.client.ok(SELF_TEST, &json!({})).await;
    rig.client.ok("/setup", &json!({"envs": {"A": "b"}})).await;
    let before = tree(rig.dir.path());
    let refused = || async { rig.client.refused(SELF_TEST, &json!({})).await };
    let why = "a stage was set up on this machine already, so it is not tested any more";
    assert_eq!(refused().await, (409, why.to_owned()));
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(refused().await.0, 409);
    assert_eq!(tree(rig.dir.path()), before);
}

#[tokio::test]
async fn a_setup_that_comes_meanwhile_waits_for_its_end() {
    let gate = tempfile::tempdir().expect("a directory");
    let (started, open) = (gate.path().join("started"), gate.path().join("open"));
    let slow = format!(
        "#!/bin/sh\necho >{}; while [ ! -e {} ]; do sleep 0.02; done; exec /bin/sh \"$@\"",
        started.display(),
        open.display()
    );
    let rig = Rig::with(|settings| {
        shell(settings, &slow);
        settings.self_test_within = PATIENCE;
    })
    .await;
    let client = rig.client.clone();
    let testing = tokio::spawn(async move { client.ok(SELF_TEST, &json!({})).await });
    until("the step", async || std::fs::metadata(&started).ok()).await;
    let mut setup = std::pin::pin!(rig.agent.setup(SetupRequest::default(), ""));
    // Had it not to wait, it would have closed the machine for claims by now.
    assert!(poll!(setup.as_mut()).is_pending() && !identity(&rig).await.in_use);
    std::fs::write(&open, "").expect("a file");
    setup.await.expect("a set-up");
    testing.await.expect("the self-test passes");
    assert!(identity(&rig).await.in_use);
}

/// What the machine is like, and what the answer says.
async fn fails(change: impl FnOnce(&mut Settings), break_it: impl FnOnce(&Rig), says: &[&str]) {
    let rig = Rig::with(change).await;
    break_it(&rig);
    let before = tree(rig.dir.path());
    let (status, message) = rig.client.refused(SELF_TEST, &json!({})).await;
    assert_eq!(status, 500, "{message}");
    for part in says {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_no_trace(&rig, &before).await;
}

#[tokio::test]
async fn a_machine_that_cannot_run_a_step_is_told_with_what_is_wrong() {
    let sound = |_: &Rig| {};
    fails(|s| shell(s, "#!/no/such/interpreter\n"), sound, &["the self-test failed", "cannot start \"sh\""]).await;
    fails(
        |s| shell(s, "#!/bin/sh\necho no library; exit 127\n"),
        sound,
        &["exit status 127", "it printed \"no library\\n\""],
    )
    .await;
    fails(|s| shell(s, "#!/bin/sh\nkill -SEGV $$\n"), sound, &["signal 11"]).await;
    fails(|s| shell(s, "#!/bin/sh\necho something else\n"), sound, &["what came back is \"something else\\n\""]).await;
    // It prints what it should, and hands nothing over.
    fails(
        |s| shell(s, "#!/bin/sh\necho \"value: $KILN_SELF_TEST\"\n"),
        sound,
        &["it handed over", "is that disk full?"],
    )
    .await;
    fails(|s| s.disk_reserve_bytes = u64::MAX / 2, sound, &["could not be kept in", "that disk has no room left"])
        .await;
    let no_spool = |rig: &Rig| {
        std::fs::remove_dir_all(rig.dir.path().join("state")).expect("a directory");
        std::fs::write(rig.dir.path().join("state"), "in the way").expect("a file");
    };
    fails(|_| {}, no_spool, &["its output cannot be kept in", "free or make that directory"]).await;
    let no_engine_dir = |rig: &Rig| {
        std::fs::remove_dir_all(rig.dir.path().join("engine")).expect("a directory");
        std::fs::write(rig.dir.path().join("engine"), "in the way").expect("a file");
    };
    fails(|_| {}, no_engine_dir, &["it could not be prepared: cannot make", "engine"]).await;
}

#[tokio::test]
async fn a_step_that_does_not_end_is_ended_with_all_that_it_started() {
    let kept = tempfile::tempdir().expect("a directory");
    let (pid, child) = (kept.path().join("pid"), kept.path().join("child"));
    let hangs = format!(
        "#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'echo $$ >{}; exec sleep 1000' &\necho $$ >{}; echo waiting; wait\n",
        child.display(),
        pid.display()
    )
    .replace("setsid sh", "setsid /bin/sh");
    let within = Duration::from_secs(3);
    let limit = |settings: &mut Settings| {
        shell(settings, &hangs);
        settings.self_test_within = within;
    };
    fails(limit, |_| {}, &["did not end within 3000 ms", "it printed \"waiting\\n\""]).await;
    for file in [pid, child] {
        until_dead(&content(file).await).await;
    }
}
