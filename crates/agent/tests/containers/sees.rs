//! What a container sees: volumes, devices, the engine's socket, networks, limits.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiln_agent_rig::Rig;
use kiln_engine_rig::Engine;
use kiln_wire::agent::{Cause, StartStepRequest, VolumeDevice, VolumeMount};
use serde_json::{Value, json};

use crate::rig::until;
use crate::{agent, agent_with, boxed, containers, inspect, running};

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), path: path.into() }
}

/// Runs a step, and returns what it printed.
async fn prints(rig: &Rig, request: &StartStepRequest) -> String {
    let end = rig.client.run(request).await;
    let printed = rig.client.output(&request.id, 0).await;
    assert_eq!(end.exit_code, 0, "{end:?}\n{printed}");
    printed
}

#[tokio::test]
async fn a_folder_of_the_machine_is_seen_past_its_links_and_keeps_its_mode() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let (data, link, new) = (rig.path("data"), rig.path("link"), rig.path("new/one"));
    std::fs::create_dir(&data).expect("a folder");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).expect("a mode");
    std::fs::write(Path::new(&data).join("file"), "of the machine\n").expect("a file");
    std::os::unix::fs::symlink(&data, &link).expect("a link");
    let volumes = json!([
        {"host": {"id": "d", "name": "d", "path": link}}, {"host": {"name": "n", "path": new, "create": true, "remove": true}},
        {"host": {"name": "r", "path": data, "read_only": true}},
    ]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    let mut request =
        boxed(engine, "s1", "cat /d/file; echo written > /n/file; (echo no > /r/file) 2>/dev/null || echo refused");
    request.volumes = vec![mount("d", "/d"), mount("n", "/n"), mount("r", "/r")];
    assert!(prints(&rig, &request).await.ends_with("refused\n"));
    assert_eq!(std::fs::read_to_string(Path::new(&new).join("file")).expect("a file"), "written\n");
    assert_eq!(std::fs::read_to_string(Path::new(&data).join("file")).expect("a file"), "of the machine\n");
    assert_eq!(std::fs::metadata(&data).expect("a folder").permissions().mode() & 0o7777, 0o750);
    rig.client.ok("/destroy", &json!({})).await;
    assert!(!Path::new(&new).exists() && Path::new(&data).exists());
}

#[tokio::test]
async fn a_volume_that_starts_empty_is_shared_by_the_stage_and_removed_with_it() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let id = format!("vol-{}", rig.agent.mark());
    let volumes = json!([{"temp": {"id": id, "name": "t", "labels": {"a": "b"}}}]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    assert_eq!(engine.docker(&["volume", "inspect", "--format", "{{.Labels.a}}", &id]), "b");
    let mut request = boxed(engine, "s1", "echo kept > /t/file");
    request.volumes = vec![mount("t", "/t")];
    prints(&rig, &request).await;
    (request.id, request.run.commands) = ("s2".into(), vec!["cat /t/file".into()]);
    assert_eq!(prints(&rig, &request).await, "kept\n");
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(engine.docker(&["volume", "ls", "--quiet", "--filter", &format!("name={id}")]), "");
}

#[tokio::test]
async fn a_volume_in_memory_has_its_size_and_is_open_to_all_users() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let id = format!("mem-{}", rig.agent.mark());
    let volumes = json!([{"temp": {"id": id, "name": "m", "medium": "memory", "size_limit": 4 << 20}}]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    let mut request = boxed(
        engine,
        "s1",
        "grep ' /m ' /proc/mounts | cut -d' ' -f3; df -k /m | tail -1 | awk '{print $2}'; touch /m/mine",
    );
    (request.volumes, request.user) = (vec![mount("m", "/m")], "65534".into());
    assert_eq!(prints(&rig, &request).await, "tmpfs\n4096\n");
    assert_eq!(engine.docker(&["volume", "ls", "--quiet", "--filter", &format!("name={id}")]), "");
}

#[tokio::test]
async fn devices_are_given_to_the_container() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let volumes = json!([
        {"host": {"name": "random", "path": "/dev/urandom"}}, {"host": {"name": "zero", "path": "/dev/zero", "read_only": true}},
        {"host": {"name": "folder", "path": rig.path("folder")}},
    ]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    let mut request =
        boxed(engine, "s1", "test -c /dev/mine && head -c 8 /dev/mine | wc -c; head -c 3 /dev/nothing | od -An -c");
    let device = |name: &str, path: &str| VolumeDevice { name: name.into(), device_path: path.into() };
    (request.devices, request.volumes) = (vec![device("random", "/dev/mine")], vec![mount("zero", "/dev/nothing")]);
    assert_eq!(prints(&rig, &request).await.split_whitespace().collect::<Vec<_>>(), ["8", "\\0", "\\0", "\\0"]);
    (request.id, request.devices) = ("s2".into(), vec![device("folder", "/dev/f")]);
    let end = rig.client.run(&request).await;
    assert!(end.cause == Cause::Failed && end.error.contains("\"folder\" as a device"), "{}", end.error);
}

#[tokio::test]
async fn a_volume_that_is_missing_is_told_by_name() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let gone = rig.path("gone");
    rig.client.ok("/setup", &json!({"volumes": [{"host": {"name": "data", "path": gone}}]})).await;
    let mut request = boxed(engine, "s1", "true");
    request.volumes = vec![mount("dta", "/data")];
    let end = rig.client.run(&request).await;
    assert_eq!(end.error, "the step mounts the volume \"dta\", which its stage does not have; it has data");
    std::fs::remove_dir(&gone).expect("a folder");
    (request.id, request.volumes) = ("s2".into(), vec![mount("data", "/data")]);
    let end = rig.client.run(&request).await;
    assert!(end.cause == Cause::Failed && end.error.contains(&gone), "{}", end.error);
    assert!(!Path::new(&gone).exists());
}

/// Whether a container sees the engine's socket, when setup and step say this.
async fn sees_socket(rig: &Rig, engine: &Engine, id: &str, setup: Value, step: Option<bool>) -> bool {
    rig.client.ok("/setup", &json!({"mount_docker_socket": setup, "envs": {"ROUND": id}})).await;
    let mut request = boxed(engine, id, "test -S /var/run/docker.sock && echo yes || echo no");
    request.mount_docker_socket = step;
    prints(rig, &request).await == "yes\n"
}

#[tokio::test]
async fn a_stock_runner_that_says_nothing_shows_the_socket() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    for (id, setup, step, expected) in [
        ("s1", Value::Null, None, true),
        ("s2", json!(true), Some(true), true),
        ("s3", json!(false), None, false),
        ("s4", Value::Null, Some(false), false),
    ] {
        assert_eq!(sees_socket(&rig, engine, id, setup, step).await, expected, "{id}");
    }
}

#[tokio::test]
async fn after_a_claim_the_claim_says_whether_the_socket_is_shown() {
    let Some(engine) = Engine::shared() else { return };
    for (claim, expected) in [(json!({"id": "i-1"}), false), (json!({"id": "i-1", "docker_socket": true}), true)] {
        let rig = agent(engine).await;
        rig.client.ok("/kiln/v1/claim", &claim).await;
        assert_eq!(sees_socket(&rig, engine, "s1", Value::Null, None).await, expected, "{claim}");
        assert_eq!(sees_socket(&rig, engine, "s2", json!(true), Some(true)).await, expected, "{claim}");
        assert!(!sees_socket(&rig, engine, "s3", json!(false), None).await, "{claim}");
    }
    let rig = agent_with(engine, |settings| settings.docker_socket = false).await;
    assert!(!sees_socket(&rig, engine, "s1", Value::Null, None).await);
}

#[tokio::test]
async fn steps_of_a_stage_find_each_other_and_further_networks_are_joined() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let (net, other) = (format!("net-{}", rig.agent.mark()), format!("other-{}", rig.agent.mark()));
    engine.docker(&["network", "create", &other]);
    rig.client.ok("/setup", &json!({"network": {"id": net, "labels": {"a": "b"}}})).await;
    assert_eq!(engine.docker(&["network", "inspect", "--format", "{{.Labels.a}} {{.Driver}}", &net]), "b bridge");
    let mut service = boxed(engine, "service", "echo found >/tmp/index.html; exec httpd -f -h /tmp");
    (service.name, service.network_aliases, service.networks) =
        ("web".into(), vec!["cache".into()], vec![other.clone()]);
    service.detach = true;
    rig.client.run(&service).await;
    let ask = |host: &str| {
        format!("for n in $(seq 300); do wget -q -O - http://{host}/ 2>/dev/null && exit; sleep 0.1; done; exit 1")
    };
    for (n, host) in ["web", "cache"].into_iter().enumerate() {
        assert_eq!(prints(&rig, &boxed(engine, &format!("s{n}"), &ask(host))).await, "found\n");
    }
    let mut from_other = boxed(engine, "s2", &ask("web"));
    from_other.network = other.clone();
    assert_eq!(prints(&rig, &from_other).await, "found\n");
    let mut none = boxed(engine, "s3", "ls /sys/class/net");
    none.network = "none".into();
    assert_eq!(prints(&rig, &none).await, "lo\n");
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(engine.docker(&["network", "ls", "--quiet", "--filter", &format!("name={net}")]), "");
    // It was there before the stage.
    engine.docker(&["network", "rm", &other]);
}

#[tokio::test]
async fn ports_are_published_on_the_machine() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut service = boxed(engine, "service", "echo found >/tmp/index.html; exec httpd -f -p 8000 -h /tmp");
    (service.port_bindings, service.detach) = ([("18080".to_owned(), "8000/tcp".to_owned())].into(), true);
    rig.client.run(&service).await;
    let answer = until("an answer", async || {
        let asked = engine.within("busybox").args(["wget", "-q", "-O", "-", "http://127.0.0.1:18080/"]).output();
        let asked = asked.expect("nsenter");
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
    })
    .await;
    assert_eq!(answer, "found\n");
    rig.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn name_servers_hosts_and_limits_are_those_of_the_step() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(
        engine,
        "s1",
        "grep -E 'nameserver|search' /etc/resolv.conf; grep db /etc/hosts; df -k /dev/shm | tail -1 | awk '{print $2}'",
    );
    request.dns = vec!["192.0.2.1".into()];
    request.dns_search = vec!["ci.example".into()];
    request.extra_hosts = vec!["db:192.0.2.7".into()];
    request.shm_size = 8 << 20;
    let printed = prints(&rig, &request).await;
    let words: Vec<_> = printed.split_whitespace().collect();
    for word in ["192.0.2.1", "ci.example", "192.0.2.7", "8192"] {
        assert!(words.contains(&word), "{printed}");
    }
    let mut request = boxed(engine, "s2", "sleep 1000");
    (request.mem_limit, request.memswap_limit) = (64 << 20, 128 << 20);
    (request.cpu_period, request.cpu_quota, request.cpu_shares) = (50_000, 25_000, 512);
    (request.cpu_set, request.privileged) = (vec!["0".into()], true);
    rig.client.ok("/start_step", &request).await;
    let id = running(engine, &rig).await;
    let format = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.CpuPeriod}} {{.CpuQuota}} {{.CpuShares}} {{.CpusetCpus}} {{.Privileged}} {{.LogConfig.Type}}{{end}}";
    assert_eq!(inspect(engine, &id, format).as_deref(), Some("67108864 134217728 50000 25000 512 0 true none"));
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(containers(engine, &rig), [""; 0]);
}

#[tokio::test]
async fn a_value_without_a_meaning_is_refused_with_its_name_and_nothing_is_left() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    type Spoil = fn(&mut StartStepRequest);
    let spoilt: [(Spoil, &str); 8] = [
        (
            |request| request.port_bindings = [("80".to_owned(), "http".to_owned())].into(),
            "port_bindings of the step holds \"http\"",
        ),
        (|request| request.dns = vec!["one.one.one".into()], "dns of the step holds \"one.one.one\""),
        (|request| request.extra_hosts = vec!["db".into()], "extra_hosts of the step holds \"db\""),
        (|request| request.cpu_set = vec!["many".into()], "cpu_set of the step holds \"many\""),
        (|request| request.mem_limit = -1, "mem_limit of the step holds \"-1\""),
        (|request| request.networks = vec!["a/b".into()], "network of the step holds \"a/b\""),
        (|request| request.networks = vec!["no-such-network".into()], "no-such-network"),
        (|request| request.terminal = Some(Default::default()), "takes no input"),
    ];
    for (n, (spoil, expected)) in spoilt.into_iter().enumerate() {
        let mut request = boxed(engine, &format!("s{n}"), "true");
        spoil(&mut request);
        let end = rig.client.run(&request).await;
        assert!(end.exit_code == 255 && end.error.contains(expected), "{}", end.error);
    }
    crate::until_removed(engine, &rig).await;
}
