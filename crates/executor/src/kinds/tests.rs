//! What the agent is asked for, from the file to the words of the protocol.

use std::fmt::Write as _;

use futures::future::BoxFuture;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Graph, Plan, Step, StepNode};
use kiln_wire::agent::{SetupRequest, StartStepRequest};
use tokio_util::sync::CancellationToken;

use super::{Turn, Work, work};
use crate::context::{Context, Options};
use crate::fleet::{Fleet, FleetError, Lease, Want};
use crate::nest::Nest;
use crate::stage::StageRun;
use crate::walk::End;

/// A fleet that is asked for nothing.
struct Nobody;

impl Fleet for Nobody {
    fn acquire<'a>(
        &'a self,
        _: &'a Want<'a>,
        _: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>> {
        unreachable!("nothing is run")
    }

    fn release<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        unreachable!("nothing is run")
    }

    fn abandon<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        unreachable!("nothing is run")
    }

    fn hold<'a>(&'a self, _: &'a Lease, _: std::time::Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        unreachable!("nothing is run")
    }

    fn ended<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, String> {
        unreachable!("nothing is run")
    }
}

/// What a file asks the agent of its first stage.
struct Asked {
    setup: SetupRequest,
    /// The requests of the steps in the order of the file, or what speaks against one.
    steps: Vec<(String, Result<StartStepRequest, String>)>,
    notes: Vec<String>,
}

impl Asked {
    #[track_caller]
    fn of(yaml: &str, options: &Options) -> Self {
        let loaded = kiln_pipeline::load("pipeline.yml", yaml.as_bytes(), &kiln_pipeline::Options::default());
        let told = loaded.report.text(false);
        let plan: Plan = loaded.plan.unwrap_or_else(|| panic!("{told}"));
        let notes = std::sync::Mutex::new(Vec::new());
        let sink = |event: kiln_mask::Masked<kiln_wire::run::Event>| {
            if let kiln_wire::run::Event::Note { message, .. } = event.into_inner() {
                notes.lock().expect("no panic").push(message);
            }
        };
        let (images, cancel) = (|_: &_| String::new(), CancellationToken::new());
        let mut context = Context::new(&plan, options, &Nobody, &images, &sink, &cancel);
        "run".clone_into(&mut context.id);
        let stage = &plan.stages.nodes[0].item;
        let run = StageRun::new(&context, stage, &stage.id, None);
        let stage = run.context();
        let setup = stage.setup_request().expect("a setup");
        let mut steps = Vec::new();
        let mut each = |step: &Step, nest: &Nest<'_>| {
            let scope = context.scope(&stage.place(nest, End::Clear));
            let turn = Turn { stage, step, id: &step.id, nest, scope: &scope };
            let request = work(&turn).and_then(|work| match work {
                Work::Start(prepared) => Ok(prepared.request),
                Work::Sources { directory } => Err(format!("sources to {directory}")),
                Work::Keep(_) => Err("files are kept".to_owned()),
            });
            steps.push((step.id.clone(), request));
        };
        walk(&plan.stages.nodes[0].item.steps, &Nest::default(), &mut each);
        let told = notes.lock().expect("no panic").clone();
        Self { setup, steps, notes: told }
    }

    #[track_caller]
    fn request(&self, step: &str) -> &StartStepRequest {
        let (_, request) = self.steps.iter().find(|(id, _)| id == step).expect("such a step");
        request.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }
}

fn walk<'p>(graph: &'p Graph<StepNode>, nest: &Nest<'p>, each: &mut dyn FnMut(&Step, &Nest<'_>)) {
    for node in &graph.nodes {
        match &node.item {
            StepNode::Step(step) => each(step, nest),
            StepNode::Group(group) => {
                let mut nest = nest.clone();
                nest.enter(group, group.id.clone());
                walk(&group.steps, &nest, each);
            }
        }
    }
}

/// Shows the fields of a request that say something of its container, without what every request has.
fn shown(request: &StartStepRequest) -> String {
    let mut value = serde_json::to_value(request).expect("JSON");
    let fields = value.as_object_mut().expect("an object");
    for common in [
        "id",
        "name",
        "environment",
        "log_drone",
        "mount_docker_socket",
        "delete_temp_step_files",
        "process_config",
        "run",
        "secrets",
        "log_config",
        "ti_config",
        "mtls_config",
        "annotations_config",
        "step_status",
        "test_report",
        "run_test",
        "run_test_v2",
    ] {
        fields.remove(common);
    }
    let mut out = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let _ = writeln!(out, "{name}: {value}");
    }
    let _ = writeln!(out, "run: {:?} {:?}", request.run.entrypoint, request.run.commands);
    out
}

fn harness(stage: &str, steps: &str) -> String {
    let indent =
        |text: &str, by: usize| text.trim_end().lines().map(|line| format!("{:by$}{line}\n", "")).collect::<String>();
    format!(
        "pipeline:\n  name: p\n  identifier: p\n  stages:\n    - stage:\n        name: s\n        type: CI\n        spec:\n{}          execution:\n            steps:\n{}",
        indent(stage, 10),
        indent(steps, 14)
    )
}

const BUILD_AND_DATABASE: &str = "
- step:
    name: build
    type: Run
    spec:
      connectorRef: account.hub
      image: quay.io/me/tools:1
      imagePullPolicy: Always
      privileged: true
      runAsUser: 1000
      shell: Bash
      command: make
      resources: {limits: {memory: 500Mi, cpu: 400m}}
- stepGroup:
    name: g
    steps:
      - step:
          name: db
          type: Background
          spec:
            image: postgres
            entrypoint: [docker-entrypoint.sh]
            command: postgres
            portBindings: {'5432': '5432', '53': 53/udp}
";

#[test]
fn a_container_of_a_harness_step() {
    let asked = Asked::of(
        &harness("sharedPaths: [/root/.m2]", BUILD_AND_DATABASE),
        &Options {
            secrets: vec![
                ("connectors.hub.username".into(), "me".into()),
                ("connectors.hub.password".into(), "s3cret".into()),
            ],
            ..Options::default()
        },
    );
    assert_eq!(
        shown(asked.request("build")),
        "\
auth: {\"address\":\"quay.io\",\"password\":\"s3cret\",\"username\":\"me\"}
cpu_period: 100000
cpu_quota: 40000
image: \"quay.io/me/tools:1\"
mem_limit: 524288000
network_aliases: [\"build\"]
privileged: true
pull: \"Always\"
user: \"1000\"
volumes: [{\"name\":\"kiln-workspace\",\"path\":\"/harness\"},{\"name\":\"shared-0\",\"path\":\"/root/.m2\"}]
working_dir: \"/harness\"
run: [\"bash\", \"-e\", \"-c\"] [\"make\"]
"
    );
    assert_eq!(
        shown(asked.request("db")),
        "\
detach: true
image: \"postgres\"
network_aliases: [\"db\",\"g_db\"]
port_bindings: {\"53\":\"53/udp\",\"5432\":\"5432\"}
volumes: [{\"name\":\"kiln-workspace\",\"path\":\"/harness\"},{\"name\":\"shared-0\",\"path\":\"/root/.m2\"}]
working_dir: \"/harness\"
run: [\"docker-entrypoint.sh\"] [\"postgres\"]
"
    );
    // The name is a secret too, as it was given.
    let [note] = asked.notes.as_slice() else { panic!("{:?}", asked.notes) };
    assert!(note.starts_with("quay.io is asked for images as "), "{note}");
    assert!(note.ends_with(", by the secrets of the connector account.hub"), "{note}");
    let setup = serde_json::to_value(&asked.setup).expect("JSON");
    assert_eq!(setup["network"]["id"], "kiln-run-s");
    assert_eq!(setup["volumes"][0]["host"]["path"], "/harness");
    assert_eq!(setup["volumes"][1]["temp"]["id"], "kiln-run-s-shared-0");
    assert_eq!(asked.setup.mount_docker_socket, None);
}

/// Without a container there is nothing of an engine, which the machine may not even have.
#[test]
fn a_stage_without_containers_asks_for_no_engine() {
    let asked = Asked::of(&harness("", "- step: {name: a, type: Run, spec: {command: x}}"), &Options::default());
    assert_eq!(asked.setup.network, kiln_wire::agent::Network::default());
    assert!(asked.setup.volumes.is_empty());
    assert_eq!(asked.setup.mount_docker_socket, None, "the pool decides");
}

#[test]
fn a_plugin_finds_its_settings() {
    let asked = Asked::of(
        &harness(
            "",
            "
- step:
    name: notify
    type: Plugin
    spec:
      image: plugins/slack
      settings:
        webhook: <+secrets.getValue(\"hook\")>
        some-flag: true
        list: [a, <+pipeline.name>]
        nested: {key: 'a \"b\"', secret: <+secrets.getValue(\"hook\")>, n: 1}
",
        ),
        &Options { secrets: vec![("hook".into(), "it's \"it\"".into())], ..Options::default() },
    );
    let request = asked.request("notify");
    let settings: Vec<String> = request
        .environment
        .iter()
        .filter(|(name, _)| name.starts_with("PLUGIN_"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        settings,
        [
            "PLUGIN_LIST=a,p",
            r#"PLUGIN_NESTED={"key":"a \"b\"","secret":"it's \"it\"","n":1}"#,
            "PLUGIN_SOME_FLAG=true",
            "PLUGIN_WEBHOOK=it's \"it\"",
        ]
    );
    assert!(request.run.entrypoint.is_empty() && request.run.commands.is_empty(), "{:?}", request.run);
    assert_eq!(request.environment["HARNESS_STAGE_ID"], "s");
    assert!(!request.environment.contains_key("HOME"), "a container has the home of its own user");
}

#[test]
fn services_of_the_older_form_begin_before_the_steps() {
    let asked = Asked::of(
        &harness(
            "serviceDependencies: [{identifier: cache, name: Cache, type: Service, spec: {connectorRef: hub, image: redis, args: [--port, 7000], envVariables: {A: b}}}]",
            "- step: {name: a, type: Run, spec: {image: alpine, command: x}}",
        ),
        &Options::default(),
    );
    assert_eq!(asked.steps[0].0, "cache");
    let request = asked.request("cache");
    assert_eq!((request.detach, request.run.commands.join(" ").as_str()), (true, "--port 7000"));
    assert_eq!(request.environment["A"], "b");
    assert_eq!(asked.notes, ["docker.io is asked for images as anybody: no credentials for it are given"]);
}

const DRONE: &str = "
kind: pipeline
type: docker
name: s
workspace: {base: /go, path: src/x}
image_pull_secrets: [config]
volumes:
- {name: sock, host: {path: /var/run/docker.sock}}
- {name: cache, temp: {medium: memory, size_limit: 1mb}}
steps:
- name: build it
  image: r.example:5000/tools
  pull: if-not-exists
  user: nobody
  privileged: true
  commands: [make]
  volumes: [{name: cache, path: /cache}]
  devices: [{name: sock, path: /dev/x}]
  network_mode: host
  dns: [1.1.1.1]
  extra_hosts: ['a:10.0.0.1']
  mem_limit: 64m
  shm_size: 1gb
- name: publish
  image: plugins/docker
  settings: {repo: x/y}
- name: own
  image: alpine
  entrypoint: [/bin/echo]
  command: [a, b]
  environment: {PATH: '/x:$PATH'}
services:
- {name: db, image: 'postgres:15', ports: [5432, '8080:80']}
";

#[test]
fn a_container_of_a_drone_step() {
    let asked = Asked::of(
        DRONE,
        &Options {
            secrets: vec![(
                "config".into(),
                r#"{"auths":{"r.example:5000":{"auth":"bWU6bG9uZy1wYXNzd29yZA=="}}}"#.into(),
            )],
            facts: Facts::default(),
            ..Options::default()
        },
    );
    assert_eq!(
        shown(asked.request("build_it")),
        "\
auth: {\"address\":\"r.example:5000\",\"password\":\"long-password\",\"username\":\"me\"}
devices: [{\"name\":\"sock\",\"path\":\"/dev/x\"}]
dns: [\"1.1.1.1\"]
extra_hosts: [\"a:10.0.0.1\"]
image: \"r.example:5000/tools\"
mem_limit: 67108864
network: \"host\"
privileged: true
pull: \"IfNotPresent\"
shm_size: 1073741824
user: \"nobody\"
volumes: [{\"name\":\"kiln-workspace\",\"path\":\"/go\"},{\"name\":\"cache\",\"path\":\"/cache\"}]
working_dir: \"/go/src/x\"
run: [\"sh\", \"-e\", \"-c\"] [\"set -e\\n\\nprintf '%s\\\\n' '+ make'\\nmake\\n\"]
"
    );
    let publish = asked.request("publish");
    assert!(publish.privileged, "what builds images in its container is privileged, as in Drone");
    assert_eq!(publish.environment["PLUGIN_REPO"], "x/y");
    assert_eq!(shown(asked.request("own")).lines().last(), Some("run: [\"/bin/echo\"] [\"a\", \"b\"]"));
    // No shell is there that could put in what the image has.
    assert_eq!(asked.request("own").environment["PATH"], "/x:$PATH");
    let db = asked.request("db");
    assert_eq!(
        (db.detach, db.port_bindings.iter().map(|(a, b)| format!("{a}:{b}")).collect::<Vec<_>>()),
        (true, vec!["5432:5432".to_owned(), "8080:80".to_owned()])
    );
    assert_eq!(db.network_aliases, ["db"]);
    let setup = serde_json::to_value(&asked.setup).expect("JSON");
    assert_eq!(setup["volumes"][1]["host"]["path"], "/var/run/docker.sock");
    assert_eq!(setup["volumes"][2]["temp"]["medium"], "memory");
    assert_eq!(setup["volumes"][2]["temp"]["size_limit"], 1_048_576);
    let whose = "r.example:5000 is asked for images as me, by a secret of `image_pull_secrets`";
    assert!(asked.notes.iter().any(|note| note == whose), "{:?}", asked.notes);
}

/// Half of a connector's credentials is a mistake, which must not end as a pull by anybody.
#[test]
fn half_of_the_credentials_fail_the_step() {
    let yaml = harness("", "- step: {name: a, type: Run, spec: {connectorRef: hub, image: x, command: y}}");
    let secrets = vec![("connectors.hub.username".into(), "me".into())];
    let asked = Asked::of(&yaml, &Options { secrets, ..Options::default() });
    let error = asked.steps[0].1.as_ref().expect_err("refused");
    assert_eq!(error, "the secret connectors.hub.username is given, and connectors.hub.password is not");
}
