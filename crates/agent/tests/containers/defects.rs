//! The defects of the agent that ours replaces, as far as they concern containers; `tests/defects.rs` has the others, and the list.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use kiln_engine_rig::Engine;
use kiln_wire::agent::{Cause, ProcessConfig, VolumeMount};
use serde_json::json;

use crate::program::{Program, memory_bytes};
use crate::rig::until;
use crate::{agent, agent_with, boxed, containers, host, inspect, running, until_removed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");
/// Whatever a step prints.
const MOST_RESIDENT_BYTES: u64 = 32_000_000;

#[tokio::test]
async fn defect_1_a_container_without_environment_or_setup_runs() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let run = json!({"entrypoint": ["sh", "-c"], "commands": ["exit 4"]});
    rig.client
        .ok("/start_step", &json!({"id": "s1", "image": engine.busybox(), "environment": null, "run": run}))
        .await;
    assert_eq!(rig.client.poll("s1").await.exit_code, 4);
}

#[tokio::test]
async fn defect_3_every_poller_of_a_container_is_answered() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/start_step", &boxed(engine, "s1", "sleep 1; exit 5")).await;
    let request = json!({"id": "s1"});
    let lost = rig.client.ok("/poll_step", &request);
    assert!(tokio::time::timeout(Duration::from_millis(100), lost).await.is_err());
    let clients: Vec<_> = (0..10).map(|_| rig.client.clone()).collect();
    let ends = futures::future::join_all(clients.iter().map(|client| client.poll("s1"))).await;
    assert!(ends.iter().all(|end| end.exit_code == 5));
}

#[tokio::test]
async fn defects_4_and_5_a_reader_that_hangs_up_or_does_not_read_holds_no_container() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let request = boxed(engine, "s1", "yes 0123456789 | head -c 40000000; echo; echo done");
    rig.client.ok("/start_step", &request).await;
    let follow = json!({"id": "s1", "offset": 0, "follow": true});
    let stalled = rig.client.send("/kiln/v1/output", &follow).await;
    drop(rig.client.send("/kiln/v1/output", &follow).await);
    let end = rig.client.poll("s1").await;
    assert_eq!((end.exit_code, end.output_bytes), (0, 40_000_006));
    drop(stalled);
    assert_eq!(rig.client.output("s1", 40_000_001).await, "done\n");
}

#[tokio::test]
async fn defect_6_a_container_of_the_distributed_mode_can_be_polled() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "exit 6");
    (request.stage_runtime_id, request.timeout) = ("stage".into(), 36_000);
    assert_eq!(rig.client.run(&request).await.exit_code, 6);
}

#[tokio::test]
async fn defect_7_sigterm_attempts_without_interval_still_end_the_container_by_force() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "trap '' TERM; while :; do sleep 0.05; done");
    request.timeout = 2;
    request.process_config = ProcessConfig {
        kill_process_on_context_cancel: true,
        kill_process_max_sigterm_attempts: 3,
        kill_process_retry_interval_secs: 0,
        ..Default::default()
    };
    let end = rig.client.run(&request).await;
    assert_eq!((end.cause, end.exit_code), (Cause::Timeout, 255), "{}", end.error);
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn defect_8_a_timeout_stops_the_container() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "setsid sleep 1000 & sleep 1000");
    request.timeout = 1;
    let end = rig.client.run(&request).await;
    assert_eq!((end.cause, end.exit_code, end.error.as_str()), (Cause::Timeout, 255, "context deadline exceeded"));
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn defect_8_destroy_ends_containers_that_run() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/start_step", &boxed(engine, "s1", "sleep 1000")).await;
    running(engine, &rig).await;
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(rig.client.poll("s1").await.cause, Cause::Destroyed);
    assert_eq!(containers(engine, &rig), [""; 0]);
}

#[tokio::test]
async fn defect_9_networks_and_volumes_bear_setups_and_destroys_in_any_order() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mark = rig.agent.mark();
    let setup = |n: u32| json!({"network": {"id": format!("net-{n}-{mark}")}, "volumes": [{"temp": {"id": format!("vol-{n}-{mark}"), "name": "v"}}]});
    rig.client.ok("/destroy", &json!({})).await;
    for n in [1, 1, 2, 1] {
        rig.client.ok("/setup", &setup(n)).await;
    }
    let mut request = boxed(engine, "s1", "true");
    request.volumes = vec![VolumeMount { name: "v".into(), path: "/v".into() }];
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    for round in ["s2", "s3"] {
        rig.client.ok("/destroy", &json!({})).await;
        assert_eq!(engine.docker(&["network", "ls", "--quiet", "--filter", &format!("name={mark}")]), "");
        assert_eq!(engine.docker(&["volume", "ls", "--quiet", "--filter", &format!("name={mark}")]), "");
        // What was removed is made again for a step that comes later.
        request.id = round.into();
        assert_eq!(rig.client.run(&request).await.exit_code, 0);
    }
    rig.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn defect_10_the_mode_of_the_engines_socket_is_left_alone() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mode = || std::fs::metadata(engine.socket()).expect("a socket").permissions().mode() & 0o7777;
    let before = mode();
    let volumes = json!([{"host": {"id": "_docker", "name": "_docker", "path": engine.socket()}}]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    let mut request = boxed(engine, "s1", "test -S /var/run/docker.sock");
    request.volumes =
        ["_docker", "_engine"].map(|name| VolumeMount { name: name.into(), path: format!("/{name}") }).into();
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    assert_eq!(mode(), before);
}

#[tokio::test]
async fn defect_12_output_of_a_container_that_cannot_be_kept_does_not_fail_the_step() {
    let Some(engine) = Engine::shared() else { return };
    // The disk is taken to be full.
    let rig = agent_with(engine, |settings| settings.disk_reserve_bytes = u64::MAX / 2).await;
    let end = rig.client.run(&boxed(engine, "s1", "yes 0123456789 | head -c 300000; echo the end")).await;
    assert_eq!((end.exit_code, end.cause), (0, Cause::Exited), "{}", end.error);
    let output = rig.client.output("s1", 0).await;
    assert!(output.contains("bytes of output were dropped here") && output.ends_with("the end\n"), "{output}");
}

/// Also what a pipe of each connection to the engine would be.
#[tokio::test]
async fn defect_13_no_descriptor_is_left_behind_by_containers() {
    let Some(engine) = Engine::shared() else { return };
    let program = Program::start_with(PROGRAM, "--env-file", &format!("DOCKER_HOST={}\n", host(engine)));
    let open = || std::fs::read_dir(format!("/proc/{}/fd", program.child.id())).expect("descriptors").count();
    assert_eq!(program.client.run(&boxed(engine, "first", "true")).await.exit_code, 0);
    program.client.ok("/destroy", &json!({})).await;
    let before = open();
    for n in 0..8 {
        assert_eq!(program.client.run(&boxed(engine, &format!("s{n}"), "echo text; exit 1")).await.exit_code, 1);
    }
    program.client.ok("/destroy", &json!({})).await;
    until("the end of all connections", async || (open() <= before + 1).then_some(())).await;
}

/// With and without a terminal, with lines and one line that never ends.
#[tokio::test]
async fn memory_defect_what_a_container_prints_is_not_held() {
    let Some(engine) = Engine::shared() else { return };
    let program = Program::start_with(PROGRAM, "--env-file", &format!("DOCKER_HOST={}\n", host(engine)));
    for (tty, id, script) in [
        (false, "lines", "yes a line of output | head -c 50000000"),
        (true, "terminal", "head -c 50000000 /dev/zero | tr '\\0' x"),
    ] {
        program.client.ok("/setup", &json!({"tty": tty, "envs": {"ROUND": id}})).await;
        let end = program.client.run(&boxed(engine, id, script)).await;
        assert_eq!(end.exit_code, 0);
        assert!(end.output_bytes >= 50_000_000, "{}", end.output_bytes);
    }
    let most = memory_bytes(program.child.id(), "VmHWM");
    assert!(most < MOST_RESIDENT_BYTES, "{most} bytes");
    program.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn the_engine_keeps_no_log_of_what_a_container_prints() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/start_step", &boxed(engine, "s1", "echo printed; sleep 1000")).await;
    let id = running(engine, &rig).await;
    assert_eq!(inspect(engine, &id, "{{.HostConfig.LogConfig.Type}}{{.LogPath}}").as_deref(), Some("none"));
    rig.client.ok("/destroy", &json!({})).await;
}

/// One that could not be joined left the container behind.
#[tokio::test]
async fn a_network_that_cannot_be_joined_leaves_no_container_behind() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "true");
    request.networks = vec!["there-is-no-such-network".into()];
    let end = rig.client.run(&request).await;
    assert_eq!(end.cause, Cause::Failed);
    assert!(end.error.contains("there-is-no-such-network"), "{}", end.error);
    until_removed(engine, &rig).await;
}
