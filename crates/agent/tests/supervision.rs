//! Ending steps: whole trees, in good order, with and without cgroups.

mod rig;

use std::time::{Duration, Instant};

use kiln_wire::agent::Cause;
use rig::{Rig, alive, content, step, until, until_dead};
use serde_json::json;

async fn with_cgroups(cgroups: bool) -> Rig {
    Rig::with(|settings| settings.cgroups = cgroups).await
}

#[tokio::test]
async fn processes_that_leave_group_session_and_parent_are_found() {
    for cgroups in [true, false] {
        let rig = with_cgroups(cgroups).await;
        let (orphan, waiting) = (rig.path("orphan"), rig.path("waiting"));
        // The inner shell ends at once, so its child has neither our group nor session nor an ancestor of the step.
        let script = format!(
            "setsid sh -c '(echo $$ >/dev/null; sh -c \"echo \\$\\$ > {orphan}; exec sleep 1000\" &)'; echo > {waiting}; sleep 1000"
        );
        rig.client.ok("/start_step", &step("s1", &script)).await;
        let orphan = content(orphan).await;
        until("the script", async || std::fs::metadata(&waiting).ok()).await;
        rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
        assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
        until_dead(&orphan).await;
    }
}

/// A process that leaves everything it can leave: its cgroup, parent, session, group and environment.
fn fugitive(pid: &str) -> String {
    // Only root may leave its cgroup; other users' steps cannot, and are tested all the same.
    let leave = "for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do echo 0 > $top/cgroup.procs; done 2>/dev/null";
    format!("{leave}; env -i setsid -f sh -c 'echo $$ > {pid}; exec sleep 1000'")
}

#[tokio::test]
async fn a_timeout_ends_a_process_that_left_everything_it_can_leave() {
    for cgroups in [true, false] {
        let rig = with_cgroups(cgroups).await;
        let pid = rig.path("pid");
        let mut request = step("s1", &format!("{}; exec sleep 1000", fugitive(&pid)));
        request.timeout = 1;
        assert_eq!(rig.client.run(&request).await.cause, Cause::Timeout);
        assert!(!alive(&content(pid).await), "with cgroups: {cgroups}");
    }
}

#[tokio::test]
async fn a_cancel_ends_a_process_that_left_everything_it_can_leave() {
    // At once, in good order, and in good order by a main process that ends before the other.
    let ends =
        [(0, "exec sleep 1000"), (2000, "exec sleep 1000"), (2000, "trap 'exit 0' TERM; while :; do sleep 0.02; done")];
    for (cgroups, (grace_ms, then)) in [true, false].into_iter().flat_map(|c| ends.map(|end| (c, end))) {
        let rig = with_cgroups(cgroups).await;
        let pid = rig.path("pid");
        // It ignores SIGTERM, as what outlives its parent may.
        let script = format!("trap '' TERM; {}; trap - TERM; {then}", fugitive(&pid));
        rig.client.ok("/start_step", &step("s1", &script)).await;
        let pid = content(pid).await;
        rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": grace_ms})).await;
        assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
        assert!(!alive(&pid), "with cgroups: {cgroups}, {grace_ms} ms, {then}");
    }
}

#[tokio::test]
async fn destroy_ends_a_process_that_left_everything_while_its_step_runs() {
    for cgroups in [true, false] {
        let rig = with_cgroups(cgroups).await;
        let pid = rig.path("pid");
        rig.client.ok("/start_step", &step("s1", &format!("{}; exec sleep 1000", fugitive(&pid)))).await;
        let pid = content(pid).await;
        rig.client.ok("/destroy", &json!({})).await;
        assert!(!alive(&pid), "with cgroups: {cgroups}");
    }
}

#[tokio::test]
async fn a_process_whose_name_is_no_text_is_ended_as_any_other() {
    for cgroups in [true, false] {
        let rig = with_cgroups(cgroups).await;
        let (main, other) = (rig.path("main"), rig.path("other"));
        let script = format!(
            "name=$(printf '{}\\377'); cp \"$(command -v sleep)\" \"$name\"; echo $$ > {main}; \
             env -i setsid -f sh -c 'echo $$ > {other}; exec \"$0\" 1000' \"$name\"; exec \"$name\" 1000",
            rig.path("")
        );
        rig.client.ok("/start_step", &step("s1", &script)).await;
        let (main, other) = (content(main).await, content(other).await);
        for pid in [&main, &other] {
            let name = || std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"\xff\n");
            until("the name", async || name().then_some(())).await;
        }
        rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": 0})).await;
        assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
        assert!(!alive(&main) && !alive(&other), "with cgroups: {cgroups}");
    }
}

#[tokio::test]
async fn a_chain_of_processes_that_start_the_next_and_end_is_caught() {
    for cgroups in [true, false] {
        let rig = with_cgroups(cgroups).await;
        let (link, trace, stop) = (rig.path("link"), rig.path("trace"), rig.path("stop"));
        let script = format!("echo x >> {trace}; [ -e {stop} ] || setsid -f env -i sh {link}");
        std::fs::write(&link, script).expect("a file");
        let start = format!("{}; setsid -f env -i sh {link}; exec sleep 1000", fugitive(&rig.path("pid")));
        rig.client.ok("/start_step", &step("s1", &start)).await;
        until("some links", async || (content(&trace).await.len() > 100).then_some(())).await;
        rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": 0})).await;
        assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
        let length = || std::fs::metadata(&trace).expect("a file").len();
        let at_the_end = length();
        // In the time of these a chain that goes on has many more links.
        for n in 0..20 {
            rig.client.run(&step(&format!("after-{n}"), "true")).await;
        }
        std::fs::write(&stop, "").expect("a file");
        assert_eq!(length(), at_the_end, "with cgroups: {cgroups}");
    }
}

#[tokio::test]
async fn sigterm_comes_first_and_its_grace_is_kept() {
    let rig = with_cgroups(true).await;
    let ready = rig.path("ready");
    let script = format!("trap 'echo cleaning up; exit 0' TERM; echo > {ready}; while :; do sleep 0.02; done");
    rig.client.ok("/start_step", &step("s1", &script)).await;
    until("the trap", async || std::fs::metadata(&ready).ok()).await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": 20_000})).await;
    let end = rig.client.poll("s1").await;
    assert_eq!((end.cause, end.exit_code, end.signal), (Cause::Cancelled, 255, 0));
    let output = rig.client.output("s1", 0).await;
    assert!(output.ends_with("cleaning up\n"), "{output}");
}

#[tokio::test]
async fn a_second_cancel_can_only_hasten_the_end() {
    let rig = with_cgroups(false).await;
    let ready = rig.path("ready");
    let script = format!("trap '' TERM; echo > {ready}; while :; do sleep 0.02; done");
    rig.client.ok("/start_step", &step("s1", &script)).await;
    until("the trap", async || std::fs::metadata(&ready).ok()).await;
    let start = Instant::now();
    for (reason, grace_ms) in [("first", 600_000), ("second", 100)] {
        rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "reason": reason, "grace_ms": grace_ms})).await;
    }
    let end = rig.client.poll("s1").await;
    assert_eq!((end.cancel_reason.as_str(), end.signal), ("first", 9));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn cancelling_what_has_ended_changes_nothing() {
    let rig = with_cgroups(true).await;
    assert_eq!(rig.client.run(&step("s1", "exit 3")).await.exit_code, 3);
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
    let end = rig.client.poll("s1").await;
    assert_eq!((end.exit_code, end.cause), (3, Cause::Exited));
}

#[tokio::test]
async fn a_fork_storm_ends_with_its_step() {
    let rig = Rig::with(|settings| settings.kill_grace = Duration::ZERO).await;
    let mark = rig.path("storm");
    // Each shell starts another and then lives on beside it, twenty deep.
    let script = format!(
        "f() {{ [ $1 -gt 0 ] && f $(($1-1)) & exec sleep 1000.{}; }}; echo x > {mark}; f 20",
        std::process::id()
    );
    rig.client.ok("/start_step", &step("s1", &script)).await;
    content(&mark).await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
    assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
    let argument = format!("1000.{}", std::process::id());
    until("the storm to end", async || {
        let listed = std::fs::read_dir("/proc").expect("proc").flatten();
        let left = listed.filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&argument)
        });
        (left.count() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_step_of_another_user_gets_its_groups_too() {
    let rig = Rig::with(|settings| {
        use std::os::unix::fs::PermissionsExt as _;
        let open = |dir: &std::path::Path| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777));
        open(&settings.engine_dir)
            .and_then(|()| open(settings.engine_dir.parent().expect("a parent")))
            .expect("permissions");
    })
    .await;
    let mut request = step("s1", "V=$(id -u):$(id -g):$(id -G)");
    request.user = "65534".into();
    request.output_vars = vec!["V".into()];
    let end = rig.client.run(&request).await;
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if root {
        assert_eq!(end.outputs["V"], "65534:65534:65534", "{}", end.error);
    } else {
        assert!(end.error.contains("cannot start"), "{}", end.error);
    }
}

#[tokio::test]
async fn a_script_whose_command_is_ended_does_not_go_on_with_the_next_one() {
    let rig = with_cgroups(true).await;
    for n in 0..10 {
        let (id, ready) = (format!("s{n}"), rig.path(&format!("ready-{n}")));
        rig.client.ok("/start_step", &step(&id, &format!("echo > {ready}; sleep 1000; echo never; true"))).await;
        until("the command", async || std::fs::metadata(&ready).ok()).await;
        rig.client.ok("/kiln/v1/cancel", &json!({"id": id, "grace_ms": 20_000})).await;
        assert_eq!(rig.client.poll(&id).await.signal, 15);
        assert_eq!(rig.client.output(&id, 0).await, "");
    }
}
