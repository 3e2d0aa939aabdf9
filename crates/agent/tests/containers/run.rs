//! What a step in a container runs, and what comes back of it.

use kiln_engine_rig::Engine;
use kiln_wire::agent::{Cause, OutputV2, RunConfig, StartStepRequest};
use serde_json::json;

use crate::rig::step;
use crate::{agent, boxed, containers, inspect, running, until_removed};

#[tokio::test]
async fn a_script_runs_in_the_image_and_its_output_and_exit_code_come_back() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let end = rig.client.run(&boxed(engine, "s1", "echo one; echo two >&2; cat /etc/passwd | head -1; exit 3")).await;
    assert_eq!((end.exit_code, end.cause, end.oom_killed), (3, Cause::Exited, false), "{end:?}");
    assert_eq!(end.error, "1 error occurred:\n\t* exit status 3\n\n");
    // The engine reads both streams, each by itself.
    let output = rig.client.output("s1", 0).await;
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "root:x:0:0:root:/root:/bin/sh", "two"]);
    assert_eq!(rig.client.output("s1", 5).await, output[5..]);
    let end = rig.client.run(&boxed(engine, "s2", "true")).await;
    assert_eq!((end.exit_code, end.cause, end.error.as_str()), (0, Cause::Exited, ""));
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn a_container_carries_the_labels_of_its_agent_step_and_request() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "sleep 1000");
    request.labels = [("team".to_owned(), "a".to_owned())].into();
    rig.client.ok("/start_step", &request).await;
    let id = running(engine, &rig).await;
    let labels = inspect(engine, &id, "{{json .Config.Labels}}").expect("labels");
    let labels: serde_json::Value = serde_json::from_str(&labels).expect("JSON");
    assert_eq!((&labels["io.kiln.agent"], &labels["team"]), (&json!(rig.agent.mark()), &json!("a")));
    let name = inspect(engine, &id, "{{.Name}}").expect("a name");
    assert_eq!(format!("/kiln-{}", labels["io.kiln.step"].as_str().expect("a mark")), name);
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(containers(engine, &rig), [""; 0]);
}

#[tokio::test]
async fn much_output_comes_whole_and_in_order() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let end = rig.client.run(&boxed(engine, "s1", "seq 1 400000")).await;
    let expected: String = (1..=400_000).map(|n| format!("{n}\n")).collect();
    assert_eq!((end.exit_code, end.output_bytes), (0, expected.len() as u64));
    assert!(rig.client.output("s1", 0).await == expected, "the output differs");
}

#[tokio::test]
async fn secrets_are_masked_in_output_errors_and_what_the_engine_says() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    // The engine reads both outputs of a container side by side, so that only each by itself has an order.
    for (id, script) in [("out", "printf hunter; sleep 0.2; echo 2hunter2"), ("err", "echo hunter2hunter2 >&2")] {
        let mut request = boxed(engine, id, script);
        request.secrets = vec!["hunter2hunter2".into()];
        rig.client.run(&request).await;
        assert_eq!(rig.client.output(id, 0).await, "**************\n");
    }
    let mut request = boxed(engine, "s2", "true");
    request.image = "hunter2hunter2.invalid/x:1".into();
    request.secrets = vec!["hunter2hunter2".into()];
    request.pull = kiln_wire::agent::PullPolicy::Never;
    let end = rig.client.run(&request).await;
    assert_eq!(end.cause, Cause::Failed);
    let printed = rig.client.output("s2", 0).await;
    assert!(!end.error.contains("hunter2") && !printed.contains("hunter2"), "{} {printed}", end.error);
    assert!(end.error.contains("is not on this machine"), "{}", end.error);
}

#[tokio::test]
async fn a_container_has_the_environment_of_the_stage_and_the_step_and_none_of_the_agent() {
    let Some(engine) = Engine::shared() else { return };
    let rig = crate::agent_with(engine, |settings| {
        settings.base_env.insert("OF_THE_AGENT".into(), "1".into());
    })
    .await;
    rig.client.ok("/setup", &json!({"envs": {"STAGE": "stage", "BOTH": "stage", "EMPTY": ""}})).await;
    let mut request = boxed(
        engine,
        "s1",
        "echo \"$STAGE $BOTH ${OF_THE_AGENT-no} ${EMPTY-no} $KILN_STEP_ID\"; command -v seq >/dev/null && echo found",
    );
    request.environment = [("BOTH".to_owned(), "step = x\ny".to_owned())].into();
    rig.client.run(&request).await;
    assert_eq!(rig.client.output("s1", 0).await, "stage step = x\ny no no s1\nfound\n");
}

#[tokio::test]
async fn without_words_of_the_step_the_image_says_what_runs() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("bin")).expect("a folder");
    std::fs::copy("/bin/busybox", root.path().join("bin/busybox")).expect("a file");
    engine.import_with(
        "own/tool:1",
        root.path(),
        &[r#"ENTRYPOINT ["/bin/busybox", "echo"]"#, r#"CMD ["of", "the", "image"]"#],
    );
    let words = |id: &str, entrypoint: &[&str], commands: &[&str]| StartStepRequest {
        image: "own/tool:1".into(),
        run: RunConfig {
            entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
            commands: commands.iter().map(ToString::to_string).collect(),
        },
        ..step(id, "")
    };
    for (request, expected) in [
        (words("s1", &[], &[]), "of the image\n"),
        (words("s2", &[], &["of the step"]), "of the step\n"),
        (words("s3", &["/bin/busybox", "printf", "%s."], &["a", "b"]), "a.b."),
    ] {
        assert_eq!(rig.client.run(&request).await.exit_code, 0);
        assert_eq!(rig.client.output(&request.id, 0).await, expected);
    }
}

#[tokio::test]
async fn the_step_says_user_and_working_directory() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let mut request = boxed(engine, "s1", "id -u; pwd");
    (request.user, request.working_dir) = ("65534".into(), "/made/for it".into());
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    assert_eq!(rig.client.output("s1", 0).await, "65534\n/made/for it\n");
    let mut request = boxed(engine, "s2", "true");
    request.user = "nobody-here".into();
    let end = rig.client.run(&request).await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::Failed));
    assert!(end.error.contains("nobody-here"), "{}", end.error);
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn a_stage_with_terminals_gives_one_to_each_container() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/setup", &json!({"tty": true})).await;
    let script = "test -t 1 && printf '\\001\\002no line'; sleep 0.2; printf ' and more\\n'";
    rig.client.run(&boxed(engine, "s1", script)).await;
    assert_eq!(rig.client.output("s1", 0).await, "\u{1}\u{2}no line and more\r\n");
}

#[tokio::test]
async fn outputs_exports_and_artifacts_are_handed_over() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/setup", &json!({"envs": {"A": "1"}})).await;
    let script = "V='a value\nof two lines'; echo F=file >> $DRONE_OUTPUT; echo E=exported >> $DRONE_ENV; \
                  echo S=topsecret >> $HARNESS_OUTPUT_SECRET_FILE; printf artifact > $PLUGIN_ARTIFACT_FILE; exit 0";
    for user in ["", "65534"] {
        let mut request = boxed(engine, &format!("s{user}"), script);
        request.outputs = ["V", "F"].map(|key| OutputV2 { key: key.into(), ..OutputV2::default() }).into();
        request.user = user.into();
        request.stage_runtime_id = "stage".into();
        let end = rig.client.run(&request).await;
        assert_eq!(end.exit_code, 0, "{end:?} {}", rig.client.output(&request.id, 0).await);
        assert_eq!((end.outputs["V"].as_str(), end.outputs["F"].as_str()), ("a value\nof two lines", "file"));
        assert_eq!((end.envs["E"].as_str(), end.artifact.as_str()), ("exported", "YXJ0aWZhY3Q="));
        assert!(end.outputs_v2.iter().any(|output| output.key == "S" && output.value == "topsecret"));
    }
    let mut request = boxed(engine, "s2", "echo $E topsecret");
    request.stage_runtime_id = "stage".into();
    rig.client.run(&request).await;
    assert_eq!(rig.client.output("s2", 0).await, "exported **************\n");
}

#[tokio::test]
async fn a_script_that_is_too_long_for_an_argument_runs_all_the_same() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let script = format!(": {}\necho done", "x".repeat(300_000));
    let mut request = boxed(engine, "s1", &script);
    request.user = "65534".into();
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    assert_eq!(rig.client.output("s1", 0).await, "done\n");
}

#[tokio::test]
async fn a_detached_step_is_answered_at_once_and_serves_the_later_ones() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    rig.client.ok("/setup", &json!({"network": {"id": format!("net-{}", rig.agent.mark())}})).await;
    let mut service = boxed(engine, "service", "echo found >/tmp/index.html; exec httpd -f -h /tmp");
    (service.detach, service.name) = (true, "web".into());
    assert_eq!(rig.client.run(&service).await, Default::default());
    let ask = "for n in $(seq 300); do wget -q -O - http://web/ && exit; sleep 0.1; done; exit 1";
    let end = rig.client.run(&boxed(engine, "s1", ask)).await;
    assert_eq!((end.exit_code, rig.client.output("s1", 0).await.lines().last()), (0, Some("found")));
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(containers(engine, &rig), [""; 0]);
    assert_eq!(engine.docker(&["network", "ls", "--quiet", "--filter", &format!("name=net-{}", rig.agent.mark())]), "");
}
