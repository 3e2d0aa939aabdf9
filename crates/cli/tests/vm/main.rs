//! The program on real VMs: its output, its ends, and that nothing remains.
//!
//! These tests need the results of `make demo`: QEMU, the default image and the static agent (`KILN_AGENT`). Snapshots
//! are taken once and shared. Every test has a state folder of its own and looks for its own leftovers there.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod world;

use std::collections::BTreeSet;

use kiln_e2e::{Door, knock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use world::World;

/// Returns a pipeline of parallel stages, each with these steps.
fn stages(count: usize, steps: &str) -> String {
    let mut text = String::from("pipeline:\n  name: t\n  identifier: t\n  stages:\n    - parallel:\n");
    for n in 0..count {
        let head = format!(
            "        - stage:\n            name: s{n}\n            identifier: s{n}\n            type: CI\n            \
             spec:\n              cloneCodebase: true\n              infrastructure:\n                type: VM\n                \
             spec: {{type: Pool, spec: {{poolName: p, os: Linux}}}}\n              execution:\n                steps:\n"
        );
        text.push_str(&head);
        for line in steps.lines() {
            text.push_str(&format!("                  {line}\n"));
        }
    }
    text
}

fn step(id: &str, command: &str, more: &str) -> String {
    let mut text = format!(
        "- step:\n    name: {id}\n    identifier: {id}\n    type: Run\n{more}    spec:\n      shell: Bash\n      command: |-\n"
    );
    for line in command.lines() {
        text.push_str(&format!("        {line}\n"));
    }
    text
}

const WHO: &str =
    "echo \"$(cat /etc/machine-id) $(hostname) $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n') $(date +%s)\"";

#[test]
fn eight_stages_have_eight_machines_and_nothing_remains() {
    let world = World::new();
    let file = world.file("eight.yml", &stages(8, &step("who", WHO, "")));
    let ran = world.run(&file, &[]);
    assert_eq!(ran.code(), 0, "{:#}", ran.report());
    let said: Vec<Vec<String>> =
        (0..8).map(|n| ran.output(&format!("s{n}"), "who").split_whitespace().map(str::to_owned).collect()).collect();
    for (column, what) in ["machine id", "host name", "random bytes"].iter().enumerate() {
        let values: BTreeSet<&str> = said.iter().map(|words| words[column].as_str()).collect();
        assert_eq!(values.len(), 8, "every VM has its own {what}: {said:?}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for words in &said {
        let clock: u64 = words[3].parse().unwrap();
        assert!(now.abs_diff(clock) < 300, "a clone's clock is ours: {clock} and {now}");
    }
    assert_eq!(world.vms(), Vec::<i32>::new());
    assert_eq!(world.remains(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_killed_owner_leaves_no_vm_and_its_files_go_at_the_next_start() {
    let world = World::new();
    let file = world.file("wait.yml", &stages(8, &step("wait", "echo up\nsleep 1000", "")));
    let mut running = world.start(&file, &[]);
    running.until_output_of(8);
    assert_eq!(world.vms().len(), 8);
    kill(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), Signal::SIGKILL).unwrap();
    running.child.wait().unwrap();
    world.wait("the end of the VMs of a killed owner", || world.vms().is_empty());
    let hello = world.file("hello.yml", &stages(1, &step("hello", "echo hello", "")));
    let ran = world.run(&hello, &[]);
    assert_eq!((ran.code(), ran.output("s0", "hello").as_str()), (0, "hello\n"));
    assert_eq!(world.vms(), Vec::<i32>::new());
    assert_eq!(world.remains(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn one_interrupt_ends_the_run_in_order() {
    let world = World::new();
    let steps = step("wait", "echo up\nsleep 1000", "") + &step("never", "echo never", "");
    let file = world.file("wait.yml", &stages(2, &steps));
    let mut running = world.start(&file, &[]);
    running.until_output_of(2);
    kill(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert!(!running.until(|_| false));
    let ran = world::Ran { status: running.child.wait().unwrap(), events: running.events };
    assert_eq!(ran.code(), 130);
    assert_eq!(ran.report()["status"], "cancelled");
    assert_eq!(ran.step("s0", "wait")["status"], "cancelled");
    assert_eq!(ran.step("s1", "never")["status"], "cancelled");
    assert_eq!((world.vms(), world.remains()), (vec![], vec![]));
}

#[test]
fn a_vm_that_dies_fails_its_stage_with_the_cause() {
    let world = World::new();
    let file = world.file("die.yml", &stages(2, &step("wait", "echo up\nsleep 1000", "")));
    let mut running = world.start(&file, &[]);
    running.until_output_of(2);
    let victim = world.vms()[0];
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    assert!(running.until(|event| event["event"] == "step_finished"), "the death of a VM is noticed");
    let told = running.events.last().unwrap().clone();
    assert_eq!((told["status"].as_str(), told["cause"].as_str()), (Some("failed"), Some("infrastructure")), "{told}");
    kill(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    running.until(|_| false);
    running.child.wait().unwrap();
    assert_eq!((world.vms(), world.remains()), (vec![], vec![]));
}

#[test]
fn results_outputs_reports_retries_and_secrets_travel() {
    let world = World::new();
    let report = "cat > report.xml <<'X'\n<testsuite><testcase name=\"a\"/><testcase name=\"b\">\
                  <failure message=\"not hunter2secret\"/></testcase></testsuite>\nX\nexit 3";
    let retry = "    failureStrategies:\n      - onFailure: {errors: [AllErrors], action: {type: Retry, spec: \
                 {retryCount: 2, retryIntervals: [1s], onRetryFailure: {action: {type: Ignore}}}}}\n";
    let outputs = "      outputVariables:\n        - {name: answer, type: String, value: answer}\n";
    let reports = "      reports: {type: JUnit, spec: {paths: ['*.xml']}}\n";
    let steps = step("make", "answer=forty-two\necho the secret is <+secrets.getValue(\"key\")>", "")
        + outputs
        + &step("use", "test <+execution.steps.make.output.outputVariables.answer> = forty-two && echo yes", "")
        + &step("flaky", "echo try >> tries; test $(wc -l < tries) = 2", retry)
        + &step("report", report, "")
        + reports
        + &step("after", "echo not reached", "")
        + &step("always", "echo reached", "    when: {stageStatus: All}\n");
    let file = world.file("all.yml", &stages(1, &steps));
    let ran = world.run(&file, &["--secret", "key=hunter2secret"]);
    assert_eq!(ran.code(), 1, "{:#}", ran.report());
    let made = ran.output("s0", "make");
    assert!(made.starts_with("the secret is *") && !made.contains("hunter2"), "{made}");
    assert_eq!(ran.output("s0", "use"), "yes\n");
    assert_eq!(
        (&ran.step("s0", "flaky")["status"], &ran.step("s0", "flaky")["attempts"]),
        (&"passed".into(), &2.into())
    );
    let failed = ran.step("s0", "report");
    assert_eq!((failed["exit_code"].as_i64(), failed["tests"]["failed"].as_i64()), (Some(3), Some(1)), "{failed}");
    assert!(!ran.events.iter().any(|event| event.to_string().contains("hunter2")), "no event carries the secret");
    assert_eq!(ran.step("s0", "after")["status"], "skipped");
    assert_eq!(ran.step("s0", "always")["status"], "passed");
}

#[test]
fn a_second_interrupt_ends_the_run_at_once() {
    let world = World::new();
    let file =
        world.file("deaf.yml", &stages(2, &step("wait", "trap '' TERM\necho up\nwhile :; do sleep 1; done", "")));
    let mut running = world.start(&file, &[]);
    running.until_output_of(2);
    let pid = Pid::from_raw(i32::try_from(running.child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    // Concurrent signals of one kind are merged, so the second signal is of another kind. It counts the same.
    kill(pid, Signal::SIGTERM).unwrap();
    running.until(|_| false);
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
    assert_eq!((world.vms(), world.remains()), (vec![], vec![]));
}

#[test]
fn the_ends_of_steps_are_told_apart() {
    let world = World::new();
    let ignore = "    failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Ignore}}}]\n";
    let outputs = "      outputVariables:\n        - {name: big, type: String, value: big}\n";
    let steps = step("memory", "tail /dev/zero", ignore)
        + &step("time", "echo begun\nsleep 1000 & sleep 1000", &format!("    timeout: 10s\n{ignore}"))
        + &step("signal", "kill -TERM $$", ignore)
        + &step("code", "exit 42", ignore)
        + &step("large", "big=$(head -c 200000 /dev/zero | tr '\\0' x)\nexit 0", "")
        + outputs
        + &step("length", "wc -c <<< <+execution.steps.large.output.outputVariables.big>", "")
        + &step("grandchild", "sleep 1000 & echo started", "");
    let ran = world.run(&world.file("ends.yml", &stages(1, &steps)), &[]);
    assert_eq!(ran.code(), 0, "{:#}", ran.report());
    for (id, cause) in [("memory", "out_of_memory"), ("time", "timeout"), ("signal", "signal"), ("code", "exit_code")] {
        let step = ran.step("s0", id);
        assert_eq!((step["status"].as_str(), step["cause"].as_str()), (Some("ignored"), Some(cause)), "{step}");
    }
    assert_eq!(ran.step("s0", "code")["exit_code"], 42);
    assert_eq!(ran.output("s0", "time"), "begun\n");
    assert_eq!(ran.step("s0", "length")["status"], "passed", "{:#}", ran.step("s0", "length"));
    assert_eq!(ran.output("s0", "length").trim(), "200001");
    assert_eq!(ran.output("s0", "grandchild"), "started\n");
}

#[test]
fn the_whole_way_can_be_tried_and_leaves_only_its_report() {
    let world = World::new();
    let output = world.kiln(&["doctor", "--try", "--format", "json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let parts: Vec<&serde_json::Value> = lines.iter().filter(|line| line.get("part").is_some()).collect();
    assert_eq!(parts.len(), 10, "{text}");
    assert!(parts.iter().all(|part| part["outcome"] == "passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let report = lines.last().unwrap()["report"].as_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!((&report["passed"], report["parts"].as_array().unwrap().len()), (&true.into(), 10));
    assert_eq!((world.vms(), world.remains()), (vec![], vec![]));
}

#[test]
fn each_option_of_a_run_opens_what_it_names_and_nothing_else() {
    let world = World::new();
    let doors = [Door::open().unwrap(), Door::open().unwrap()];
    let file = world.file("knock.yml", &stages(1, &step("knock", &knock(&[&doors[0], &doors[1]]), "")));
    let named = doors[0].address.to_string();
    for (args, said, came) in [
        (&[][..], "closed\nclosed\n", [0, 0]),
        (&["--allow-host", &named], "open\nclosed\n", [1, 0]),
        (&["--allow", "127.0.0.0/8"], "open\nopen\n", [2, 1]),
        (&["--without-isolation"], "open\nopen\n", [3, 2]),
    ] {
        let ran = world.run(&file, args);
        assert_eq!((ran.code(), ran.output("s0", "knock").as_str()), (0, said), "{args:?}: {:#}", ran.report());
        world.wait("those who knocked", || doors.each_ref().map(Door::came) == came);
    }
    assert_eq!(world.vms(), Vec::<i32>::new());
}
