//! What becomes of containers when their agent dies, or the machine is to sleep.

use std::fmt::Write as _;

use kiln_engine_rig::Engine;
use kiln_wire::agent::Cause;
use serde_json::json;

use crate::program::Program;
use crate::rig::until;
use crate::{agent, boxed, host, inspect, of_label};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");

#[tokio::test]
async fn an_agent_that_is_started_again_ends_the_containers_of_the_one_before_and_runs_none_twice() {
    let Some(engine) = Engine::shared() else { return };
    let mut program = Program::start_with(PROGRAM, "--env-file", &format!("DOCKER_HOST={}\n", host(engine)));
    let other = agent(engine).await;
    other.client.ok("/start_step", &boxed(engine, "other", "sleep 1000")).await;
    let network = format!("net-{}", std::process::id());
    let volumes = json!([{"temp": {"id": format!("vol-{}", std::process::id()), "name": "v"}}]);
    program.client.ok("/setup", &json!({"network": {"id": network}, "volumes": volumes})).await;
    let runs = program.dir.path().join("work/tmp/engine/runs");
    let mut script = String::new();
    write!(script, "echo run >> {}; echo said; sleep 1000", runs.display()).expect("a text");
    let request = boxed(engine, "s1", &script);
    program.client.ok("/start_step", &request).await;
    let filter = format!("network={network}");
    until("its container", async || (!of_label(engine, &filter).is_empty() && runs.exists()).then_some(())).await;
    let id = of_label(engine, &filter)[0].clone();
    program.kill_and_start_again(PROGRAM);
    // It listens, so what ran before has ended.
    assert_eq!(inspect(engine, &id, "{{.State.Running}}"), None);
    assert_eq!(engine.docker(&["network", "ls", "--quiet", "--filter", &format!("name={network}")]), "");
    assert_eq!(
        engine.docker(&["volume", "ls", "--quiet", "--filter", &format!("name=vol-{}", std::process::id())]),
        ""
    );
    let end = program.client.poll("s1").await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::AgentRestarted));
    assert_eq!(program.client.output("s1", 0).await, "said\n");
    assert_eq!(program.client.send("/start_step", &request).await.status(), 410);
    assert_eq!(std::fs::read_to_string(&runs).expect("a file"), "run\n");
    // Another agent's are not its.
    assert_eq!(crate::containers(engine, &other).len(), 1);
    other.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn before_the_machine_sleeps_exited_containers_with_all_labels_are_removed() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let image = engine.busybox();
    let label = format!("suspended={}", rig.agent.mark());
    let make = |more: &str, command: &[&str]| {
        let mut words = vec!["run", "--detach", "--label", &label, "--label", more, image];
        words.extend(command);
        engine.docker(&words)
    };
    let (exited, other, runs) = (make("a=1", &["true"]), make("a=2", &["true"]), make("a=1", &["sleep", "1000"]));
    for id in [&exited, &other] {
        engine.docker(&["wait", id]);
    }
    let labels = json!({"suspended": rig.agent.mark(), "a": "1"});
    rig.client.ok("/suspend", &json!({ "labels": labels })).await;
    assert_eq!(inspect(engine, &exited, "{{.State.Status}}"), None);
    assert_eq!(inspect(engine, &other, "{{.State.Status}}").as_deref(), Some("exited"));
    assert_eq!(inspect(engine, &runs, "{{.State.Status}}").as_deref(), Some("running"));
    engine.docker(&["rm", "--force", &other, &runs]);
}
