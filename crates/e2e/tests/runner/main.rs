//! `kiln runner` keeps real VMs warm, gives them to stages, and loses none of them, whatever happens to its process.

mod full_disk;
mod http;
mod network;
mod tls;
mod world;

use std::time::Duration;

use serde_json::Value;
use world::{NAME, World, step};

const SPEC: &str = "image: debian";

#[test]
fn stages_get_warm_vms_and_operators_and_pipelines_are_served() {
    let world = World::new();
    world.pool(1, SPEC);
    let mut runner = world.start(&[]);
    let database = world.state().join(format!("runner-{NAME}.sqlite"));
    assert!(database.is_file(), "{}", database.display());
    let warm = runner.warm(1);

    // A claim takes a warm instance, and the pool is refilled.
    let instance = runner.set_up("s1");
    assert!(warm.contains(&instance), "{instance} was not warm: {warm:?}");
    assert_eq!(runner.step("s1", "greet", "echo hello; exit 3"), (3, "hello\n".to_owned()));
    runner.destroy("s1");
    runner.until_it_is(&instance, "gone");
    runner.warm(1);

    refusals(&world, &runner);

    // A held VM outlives its stage.
    let held = runner.set_up("s2");
    runner.operator(&["instance", "hold", &held, "--for", "10m"]);
    runner.destroy("s2");
    let stage = runner.ok("GET", "/kiln/v1/stages/s2", &Value::Null);
    assert_eq!(stage["stage"]["state"], "ended");
    runner.warm(1);
    assert!(runner.instances("claimed").contains(&held));
    let shown = runner.operator(&["instance", "show", &held]);
    assert!(["claimed", "held", "s2"].iter().all(|word| shown.contains(word)), "{shown}");
    runner.operator(&["instance", "release", &held]);
    runner.until_it_is(&held, "gone");
    let shown = runner.operator(&["instance", "show", &held]);
    let timeline = ["intended", "launching", "booting", "ready", "claimed", "held", "released", "terminating", "gone"];
    assert!(timeline.iter().all(|word| shown.contains(word)), "{shown}");
    assert!(shown.contains("destroyed"), "{shown}");

    pipelines_end_as_on_local_vms(&world, &runner);
    runner.finish();
}

/// Runs one pipeline that passes and one that fails. Exit code and output are the same as without a runner.
fn pipelines_end_as_on_local_vms(world: &World, runner: &world::Runner<'_>) {
    let hello = std::fs::read_to_string(world.root().join("examples/hello/pipeline.yml")).expect("the example");
    let failing = world.file("failing.yml", &hello.replace("command: echo", "command: exit 4; echo"));
    for (file, code, status) in [("examples/hello/pipeline.yml", 0, "passed"), (failing.as_str(), 1, "failed")] {
        let url = runner.url();
        let ends = [vec!["--runner", url.as_str()], Vec::new()].map(|where_| {
            let ran = world.run(&[vec!["run", "--output", "json"], where_, vec![file]].concat());
            let told = String::from_utf8_lossy(&ran.stdout).into_owned();
            let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
            let of_output = events.iter().filter(|event| event["event"] == "output");
            let output: String = of_output.filter_map(|event| event["text"].as_str()).collect();
            // The VM has another name each time.
            let output: Vec<&str> = output.split(' ').filter(|word| !word.starts_with("kiln-")).collect();
            let last = events.last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
            let step = &last["stages"][0]["steps"][0];
            (ran.status.code(), last["status"].clone(), step["exit_code"].clone(), output.join(" "))
        });
        assert_eq!(ends[0], ends[1], "{file}");
        assert_eq!((ends[0].0, ends[0].1.as_str()), (Some(code), Some(status)), "{file}: {ends:?}");
        assert_eq!(ends[0].3.starts_with("hello from "), code == 0, "{file}: {ends:?}");
    }
}

/// Runners that must not start.
fn refusals(world: &World, runner: &world::Runner<'_>) {
    let pool = world.pool(1, SPEC);
    let pool = pool.to_str().expect("a path in UTF-8");
    let second = world.run(&["runner", "--bind", "127.0.0.1:0", "--name", NAME, "--pool", pool]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && said.contains("end it first, or use another name"),
        "{}\n{said}",
        second.status
    );
    let open = world.run(&["runner", "--bind", "0.0.0.0:0", "--name", "open", "--pool", pool]);
    let said = String::from_utf8_lossy(&open.stderr);
    assert_eq!(open.status.code(), Some(2), "{said}");
    assert!(said.contains("token"), "{said}");
    assert_eq!(runner.ok("GET", "/healthz", &Value::Null), "OK");
}

/// Returns a script that prints numbered lines until a file exists, and then their number.
fn counting(file: &str) -> String {
    format!("i=0; while [ ! -e {file} ]; do i=$((i+1)); echo line $i; sleep 0.1; done; echo end $i; exit 7")
}

/// Asserts that the output is complete: each line once, in order.
#[track_caller]
fn assert_whole(output: &str) {
    let lines: Vec<&str> = output.lines().collect();
    let (last, numbered) = lines.split_last().expect("some output");
    for (number, line) in numbered.iter().enumerate() {
        assert_eq!(*line, format!("line {}", number + 1));
    }
    assert_eq!(*last, format!("end {}", numbered.len()));
    assert!(numbered.len() > 1, "{output}");
}

#[test]
fn a_stage_goes_on_when_its_runner_is_killed_and_when_it_is_ended() {
    let world = World::new();
    world.pool(1, SPEC);
    let mut runner = world.start(&["--drain-timeout", "2s"]);
    runner.warm(1);
    let instance = runner.set_up("s1");

    // The runner is killed while a step prints.
    let killed = step("s1", "killed", &counting("/tmp/first"));
    let open = runner.begin("/step", killed.clone());
    runner.wait("some output", |runner| {
        let answer = http::ask(runner.address, "GET", "/kiln/v1/stages/s1/steps", &Value::Null).expect("an answer");
        answer
            .text
            .contains("\"killed\"")
            .then(|| runner.output("s1", "killed", false))
            .filter(|text| text.contains("line 2"))
    });
    let vms = world.vms();
    runner.kill();
    assert!(open.join().expect("no panic").is_err(), "nobody was there to answer");
    assert!(vms.is_subset(&world.vms()), "{vms:?} {:?}", world.vms());
    let mut runner = world.start(&["--drain-timeout", "2s"]);
    assert_eq!(runner.set_up("s1"), instance);
    let open = runner.begin("/step", killed);
    runner.step("s1", "let-first-end", "touch /tmp/first");
    let ended = open.join().expect("no panic").expect("an answer");
    assert!(ended.status == 200 && ended.text.contains("\"exit_code\":7"), "{ended:?}");
    assert_whole(&runner.output("s1", "killed", true));

    // The runner is told to end while a request is open.
    let cut = step("s1", "cut", &counting("/tmp/second"));
    let open = runner.begin("/step", cut.clone());
    runner.wait("the step", |runner| {
        let answer = http::ask(runner.address, "GET", "/kiln/v1/stages/s1/steps", &Value::Null).expect("an answer");
        answer.text.contains("\"cut\"").then_some(())
    });
    let vms = world.vms();
    let (status, took) = runner.terminate();
    assert!(status.success() && took < Duration::from_secs(20), "{status} after {took:?}");
    let answer = open.join().expect("no panic");
    assert!(answer.as_ref().map_or(true, |answer| answer.status >= 500), "{answer:?}");
    assert!(vms.is_subset(&world.vms()), "{vms:?} {:?}", world.vms());
    let mut runner = world.start(&[]);
    assert_eq!(runner.set_up("s1"), instance);
    let open = runner.begin("/step", cut);
    runner.step("s1", "let-second-end", "touch /tmp/second");
    let ended = open.join().expect("no panic").expect("an answer");
    assert!(ended.status == 200 && ended.text.contains("\"exit_code\":7"), "{ended:?}");
    assert_whole(&runner.output("s1", "cut", true));

    runner.destroy("s1");
    runner.until_it_is(&instance, "gone");
    runner.finish();
}

#[test]
fn the_pool_file_is_followed_and_busy_vms_are_left_alone() {
    let world = World::new();
    world.pool(1, SPEC);
    let mut runner = world.start(&[]);
    runner.warm(1);
    let busy = runner.set_up("s1");
    let first = runner.warm(1);
    world.pool(2, SPEC);
    let warm = runner.warm(2);
    assert!(warm.is_superset(&first), "{first:?} {warm:?}");

    // A file that cannot be used changes nothing, and the log shows the place of the fault.
    world.pool_file("instances:\n- name: local\n  type: qemu\n  pool: many\n");
    runner.wait("the finding", |runner| {
        let log = runner.log();
        (log.contains("its former content stays") && log.contains("pool.yml:4")).then_some(())
    });
    assert_eq!(runner.instances("ready"), warm);

    world.pool(1, "image: debian, cpus: 1");
    for id in &warm {
        let ended = runner.until_it_is(id, "gone");
        let code = ended["instance"]["cause"]["code"].as_str();
        assert!(matches!(code, Some("outdated" | "surplus")), "{ended}");
    }
    runner.warm(1);
    assert_eq!(runner.instances("claimed").into_iter().collect::<Vec<_>>(), [busy.as_str()]);
    assert_eq!(runner.step("s1", "count", "nproc"), (0, "2\n".to_owned()));
    runner.set_up("s2");
    assert_eq!(runner.step("s2", "count", "nproc"), (0, "1\n".to_owned()));
    runner.destroy("s1");
    runner.destroy("s2");
    runner.finish();
}
