//! Steps that build container images: how `docker` is called, and what becomes of it on a real engine.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use kiln_engine_rig::Engine;
use kiln_wire::run::Status;

use crate::rig::{Scenario, Told, stages, steps};

/// No build on a real engine takes longer, on a machine that is busy with tests.
const ENGINE_PATIENCE: Duration = Duration::from_secs(180);

/// A stand-in for `docker`, which writes down what it is called with and what it reads.
const DOCKER: &str = r#"#!/bin/sh
case "$1" in
  login) printf '%s\n' "$*" >>"$LOG"; printf 'read %s\n' "$(cat)" >>"$LOG"; exit 0 ;;
esac
if [ "$*" = 'buildx version' ]; then exit "$BUILDX"; fi
if [ "$1" = version ]; then echo "$VERSION"; exit 0; fi
printf '%s|' "$@" >>"$LOG"; printf ' %s\n' "$(env | grep -c PASSWORD)" >>"$LOG"
case "$*" in "push $UNPUSHED") exit 1 ;; esac
"#;

/// Runs a step that builds an image, and returns how `docker` was called and what the step said.
async fn docker_calls(spec: &str, env: &[(&str, &str)]) -> (String, String) {
    let scenario = Scenario::new(&steps(&format!(
        "
            - step:
                name: image
                type: BuildAndPushDockerRegistry
                spec:
                  connectorRef: hub
                  repo: r.example:5000/me/it
                  tags: [latest, <+pipeline.name>]
{spec}
            "
    )))
    .with(|options| {
        let secret = |part: &str, value: &str| (format!("connectors.hub.{part}"), value.to_owned());
        options.secrets = vec![secret("username", "me"), secret("password", "pass'word")];
    });
    let dir = scenario.options.workspace.parent().expect("a folder").to_owned();
    let docker = dir.join("docker");
    std::fs::write(&docker, DOCKER).expect("a file");
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
    let log = dir.join("log").display().to_string();
    let told = scenario
        .with(|options| {
            let own = [("PATH", &*path), ("LOG", &*log), ("UNPUSHED", "nothing")];
            let all = own.iter().chain(env);
            options.env = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        })
        .run()
        .await;
    let image = &told.report.stages[0].steps[0];
    assert_eq!(image.status, Status::Passed, "{image:?} {}", told.output("a", "image"));
    (told.file("log"), told.output("a", "image"))
}

const LOGIN: &str = "login --username me --password-stdin r.example:5000\nread pass'word\n";
const PUSHES: &str = "push|r.example:5000/me/it:latest| 0\npush|r.example:5000/me/it:p| 0\n";
const TAGS: &str = "--tag|r.example:5000/me/it:latest|--tag|r.example:5000/me/it:p|";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_and_pushed() {
    let spec = "
                  dockerfile: docker/Dockerfile
                  context: sub dir
                  target: last
                  labels: {a: it's}
                  buildArgs: {B: $HOME}";
    for (buildx, build) in [("0", "buildx|build|--load|"), ("1", "build|")] {
        let (calls, _) = docker_calls(spec, &[("BUILDX", buildx), ("VERSION", "26.1.5")]).await;
        let options = "--file|docker/Dockerfile|--target|last|--label|a=it's|--build-arg|B=$HOME|";
        assert_eq!(calls, format!("{LOGIN}{build}{options}{TAGS}sub dir| 0\n{PUSHES}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_an_image_are_kept_where_the_file_or_else_the_pool_says() {
    const TO: &str = "mode=max,ignore-error=true";
    const TAG: &str = "r.example-5000-me-it";
    let create = "buildx|create|--name|kiln|--driver|docker-container|--driver-opt|network=host| 0\n";
    let exported = |cache: &str| {
        format!("{LOGIN}{create}buildx|build|--builder|kiln|--push|{cache}{TAGS}.| 0\nbuildx|rm|kiln| 0\n")
    };
    let plain = |cache: &str, pushes: &str| format!("{LOGIN}build|{cache}{TAGS}.| 0\n{PUSHES}{pushes}");
    let repository = ("KILN_BUILD_CACHE", "r.example:5000/layers");
    let bucket = ("KILN_BUILD_CACHE", "type=s3,bucket=b,region=r");
    let (with, without) = ([("BUILDX", "0"), ("VERSION", "26.1.5")], [("BUILDX", "1"), ("VERSION", "20.10.24+dfsg1")]);
    let calls =
        async |spec: &str, env: &[(&str, &str)], more: &[(&str, &str)]| docker_calls(spec, &[env, more].concat()).await;

    let from = format!("type=registry,ref=r.example:5000/layers:{TAG}");
    let expect = exported(&format!("--cache-from|{from}|--cache-to|{from},{TO}|"));
    assert_eq!(calls("", &with, &[repository]).await.0, expect);
    let from = format!("type=s3,bucket=b,region=r,name={TAG}");
    assert_eq!(calls("", &with, &[bucket]).await.0, exported(&format!("--cache-from|{from}|--cache-to|{from},{TO}|")));

    let own = "                  cacheFrom: [a/b]\n                  cacheTo: ['type=registry,ref=a/b']";
    let expect = exported("--cache-from|a/b|--cache-to|type=registry,ref=a/b|");
    assert_eq!(calls(own, &with, &[repository]).await.0, expect, "what the file says comes first");

    // Without buildx they are kept in an image, if at all.
    let image = format!("r.example:5000/layers:{TAG}");
    let inside = format!("--cache-from|{image}|--build-arg|BUILDKIT_INLINE_CACHE=1|--tag|{image}|");
    let expect = plain(&inside, &format!("push|{image}| 0\n"));
    assert_eq!(calls("", &without, &[repository]).await.0, expect);
    let (found, said) = calls("", &without, &[repository, ("UNPUSHED", &image)]).await;
    assert_eq!(found, expect, "the image is there without them");
    // The user's name in it is masked.
    assert!(said.contains("the layers of this build are not kept: r.example:5000/layers:"), "{said}");
    let (found, said) = calls("", &without, &[bucket]).await;
    assert_eq!(found, plain("", ""));
    assert!(said.contains("layers of image builds are not kept: for type=s3,"), "{said}");
    assert_eq!(calls("", &without, &[]).await.0, plain("", ""));
}

/// Starts a registry beside an engine, and returns its address there. It ends with the engine.
fn serve_registry(engine: &Engine) -> String {
    let folder = engine.folder().join("builds");
    std::fs::create_dir(&folder).expect("a folder");
    let config = folder.join("config.yml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0', secret: tests}}\n",
        folder.display()
    );
    std::fs::write(&config, text).expect("write");
    let mut serve = engine.inside("docker-registry");
    serve.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut registry = serve.spawn().expect("docker-registry");
    let mut log = BufReader::new(registry.stderr.take().expect("its log")).lines();
    let address = log.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, address) = line.split_once("listening on ")?;
        Some(address.split('"').next()?.to_owned())
    });
    // It ends when nobody reads what it writes.
    std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
    std::thread::spawn(move || registry.wait());
    address.expect("it says where it listens")
}

/// Builds an image whose one step says when it was carried out, and returns what the run told.
async fn build(engine: &Engine, registry: &str) -> Told {
    let mut scenario = Scenario::new(&stages(&format!(
        "
        - stage:
            name: a
            type: CI
            spec:
              cloneCodebase: true
              execution:
                steps:
                  - step:
                      name: image
                      type: BuildAndPushDockerRegistry
                      spec: {{repo: '{registry}/me/it', tags: [latest]}}
        "
    )))
    .file("Dockerfile", &format!("FROM {}\nRUN cat /proc/uptime > /made\n", engine.busybox()))
    .with(|options| {
        // Debian's, whatever else there is.
        let path = format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default());
        let host = format!("unix://{}", engine.socket().display());
        options.env = [("PATH", path), ("DOCKER_HOST", host), ("KILN_BUILD_CACHE", format!("{registry}/layers"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    });
    scenario.within = ENGINE_PATIENCE;
    let told = scenario.run().await;
    let image = &told.report.stages[0].steps[0];
    assert_eq!(image.status, Status::Passed, "{image:?} {}", told.output("a", "image"));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_one_engine_built_serve_the_next_one() {
    let Some(engine) = Engine::start_as_root() else { return };
    let registry = serve_registry(&engine);
    let image = format!("{registry}/me/it:latest");
    let made = || engine.docker(&["run", "--rm", "--network", "none", &image, "cat", "/made"]);
    build(&engine, &registry).await;
    let first = made();
    // What the next VM has not.
    engine.docker(&["rmi", &image, &format!("{registry}/layers:{}", registry.replace(':', "-") + "-me-it")]);
    engine.docker(&["builder", "prune", "--all", "--force"]);
    let told = build(&engine, &registry).await;
    assert_eq!(made(), first, "{}", told.output("a", "image"));
    // A cache that is not there does no harm.
    engine.docker(&["rmi", "--force", &image]);
    engine.docker(&["builder", "prune", "--all", "--force"]);
    build(&engine, &format!("{registry}/elsewhere")).await;
}
