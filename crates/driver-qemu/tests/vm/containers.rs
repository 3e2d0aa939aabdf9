//! Container images in VM images: what is refused without starting a VM, and what a clone can do with one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use kiln_agent_client::Agent;
use kiln_driver::{Driver as _, LaunchRequest};
use kiln_driver_qemu::{Images, Layout, Pull, Settings};
use kiln_wire::agent::{RunConfig, SetupRequest, StartStepRequest};
use serde_json::{Value, json};

use crate::registry::{Cache, Registry};
use crate::rig::{self, IMAGE, PATIENCE, Rig};

/// Puts an image into a store without making one.
fn put_record(layout: &Layout, name: &str, kernel: bool) -> PathBuf {
    let dir = layout.images().join(name);
    std::fs::create_dir_all(&dir).expect("a folder");
    let record = json!({
        "name": name, "digest": "d", "origin": "a test", "virtual_bytes": 16_u64 << 30, "file_bytes": 1_u64 << 30,
        "created_unix_s": 1, "kernel": kernel,
    });
    std::fs::write(dir.join("image.json"), record.to_string()).expect("write");
    dir
}

/// What preloading says, in a store with one image.
async fn said(dir: &Path, image: &str, reference: &str, pull: &Pull) -> String {
    let layout = Layout { cache: dir.join("cache"), state: dir.join("state") };
    put_record(&layout, "built", true);
    put_record(&layout, "imported", false);
    let images = Images::new(layout.clone(), Settings::default(), Arc::new(|_| {}));
    let before = images.list().expect("a list");
    let error = images.preload(image, &[reference.to_owned()], pull).await.expect_err(reference);
    assert_eq!(images.list().expect("a list"), before, "{reference}: the images are as they were");
    let left: Vec<_> = std::fs::read_dir(layout.layers()).into_iter().flatten().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{reference}: {left:?}");
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[tokio::test]
async fn what_cannot_be_preloaded_is_told_and_leaves_the_image_as_it_was() {
    let registry = Registry::start();
    let host = format!("127.0.0.1:{}", registry.port);
    registry.put_image("arm", "1", "arm64", b"x");
    registry.put_image("broken", "1", "amd64", b"x");
    let blobs = registry.put_image("cut", "1", "amd64", b"y");
    registry.put(&format!("cut/blobs/{blobs}"), (200, "application/json", b"something else".to_vec()));
    registry
        .put("private/manifests/1", (401, "application/json", br#"{"errors": [{"code": "UNAUTHORIZED"}]}"#.to_vec()));
    registry.put("odd/manifests/1", (200, "text/html", b"<html>".to_vec()));
    registry.put("sick/manifests/1", (503, "text/plain", b"later".to_vec()));
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let check = async |image: &str, reference: &str, expect: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let said = said(dir.path(), image, reference, &Pull::default()).await;
        assert!(said.contains(expect), "{reference}: {said}");
    };
    check("none", "a:1", "there is no image `none`; there are: built, imported").await;
    check("built", "A:1", "`A:1` names no container image: ").await;
    check("imported", &format!("{host}/arm:1"), "`imported` was imported").await;
    check("built", &format!("{host}/no/such:1"), "there is no container image `").await;
    check("built", &format!("{host}/arm:1"), "it is for linux/arm64, and the VMs are linux/amd64").await;
    check("built", &format!("{host}/private:1"), "does not give `").await;
    check("built", &format!("{host}/cut:1"), "cannot be used: ").await;
    check("built", &format!("{host}/odd:1"), "cannot be used: ").await;
    check("built", &format!("{host}/sick:1"), "now (status 503)").await;
    check("built", &format!("{closed}/a:1"), &format!("the registry `{closed}` does not answer")).await;
}

#[tokio::test]
async fn credentials_of_the_host_are_used_only_where_they_are_allowed() {
    let registry = Registry::start();
    let host = format!("127.0.0.1:{}", registry.port);
    registry
        .put("private/manifests/1", (401, "application/json", br#"{"errors": [{"code": "UNAUTHORIZED"}]}"#.to_vec()));
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.json");
    // me:s3cret
    let auths = json!({ "auths": { (host.as_str()): { "auth": "bWU6czNjcmV0" } } });
    std::fs::write(&config, auths.to_string()).expect("write");
    for (docker_config, who) in [(None, "somebody unknown"), (Some(config), "the user of the Docker configuration")] {
        let pull = Pull { docker_config, ..Pull::default() };
        let said = said(dir.path(), "built", &format!("{host}/private:1"), &pull).await;
        assert!(said.contains(&format!("to {who}:")) && !said.contains("s3cret"), "{said}");
    }
}

/// Makes another image of the same disk, so that the tests' own is left alone.
fn copy_of_image(layout: &Layout, name: &str) {
    let (from, to) = (layout.images().join(IMAGE), layout.images().join(name));
    // What a killed test left may hold container images already.
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).expect("a folder");
    for file in ["disk.qcow2", "vmlinuz", "initrd"] {
        std::fs::hard_link(from.join(file), to.join(file)).expect("a link");
    }
    let text = std::fs::read(from.join("image.json")).expect("a record");
    let mut record: Value = serde_json::from_slice(&text).expect("JSON");
    record["name"] = name.into();
    record.as_object_mut().expect("an object").remove("layer");
    std::fs::write(to.join("image.json"), record.to_string()).expect("write");
}

/// Runs a step, and returns what it printed.
async fn step(agent: &Agent, request: StartStepRequest) -> String {
    let (id, since) = (request.id.clone(), Instant::now());
    agent.start_step(&request).await.expect("a step");
    let chunks: Vec<_> = agent.output(&id, 0, PATIENCE).collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.expect("output").bytes.to_vec()).collect();
    let output = String::from_utf8_lossy(&bytes).into_owned();
    let result = agent.poll_step(&id, PATIENCE).await.expect("a result");
    eprintln!("{id} took {:?}:\n{output}", since.elapsed());
    assert_eq!((result.exit_code, &*result.error), (0, ""), "{id}: {output}");
    output
}

/// Runs a script on the machine itself.
pub async fn script(agent: &Agent, id: &str, script: &str) -> String {
    let run = RunConfig { entrypoint: vec!["sh".into(), "-ec".into()], commands: vec![script.into()] };
    step(agent, StartStepRequest { id: id.into(), run, ..StartStepRequest::default() }).await
}

/// Runs the program of an image in a container, and tells when the engine did what.
async fn container(agent: &Agent, id: &str, image: &str) -> String {
    let run = RunConfig { entrypoint: vec!["/tool".into()], commands: vec!["--version".into()] };
    let request = StartStepRequest { id: id.into(), image: image.into(), run, ..StartStepRequest::default() };
    let asked = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let output = step(agent, request).await;
    let events = "docker events --since 10m --until 0s --format '{{.TimeNano}} {{.Type}} {{.Action}}'";
    for line in script(agent, &format!("{id}-events"), events).await.lines() {
        let (nanoseconds, what) = line.split_once(' ').unwrap_or_default();
        let Ok(nanoseconds) = nanoseconds.parse() else { continue };
        eprintln!("{id}: {:?} after it was asked for: {what}", Duration::from_nanos(nanoseconds).saturating_sub(asked));
    }
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_runs_a_preloaded_image_and_asks_no_registry_for_it() {
    const NAME: &str = "kiln-test-containers";
    let rig = Rig::new();
    let driver = rig.driver().await;
    copy_of_image(&rig.layout, NAME);
    let mut program = std::fs::read(rig::agent()).expect("the agent");
    let (registry, folder) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let cache = Cache::start(&registry, folder.path());
    let id = registry.put_image("tools/agent", "1", "amd64", &program);
    // Another layer with the same program in it.
    program.push(0);
    registry.put_image("library/other", "1", "amd64", &program);
    let reference = format!("10.0.2.2:{}/tools/agent:1", registry.port);
    let preload = async || driver.images().preload(NAME, std::slice::from_ref(&reference), &Pull::default()).await;
    let first = preload().await.expect("a layer");
    assert_eq!(first.added.iter().map(|added| (&added.reference, &added.id)).collect::<Vec<_>>(), [(&reference, &id)]);
    registry.asked();
    let again = preload().await.expect("the same layer");
    assert_eq!((&again.image, again.added.len()), (&first.image, 0));
    assert!(registry.asked().iter().all(|path| !path.contains("/blobs/")), "nothing is fetched twice");
    assert_eq!(driver.images().get(NAME).expect("the image"), first.image);

    let mirror = format!("http://10.0.2.2:{}", cache.port);
    let preload = [&*reference, "other:1"];
    let spec = json!({ "preload": preload, "registry_mirror": mirror, "build_cache": "r.example/layers" });
    let request = LaunchRequest { image: NAME.to_owned(), spec, ..rig.request("containers") };
    driver.launch(&LaunchRequest { token: "first".to_owned(), ..request.clone() }).await.expect("a golden VM");
    driver.destroy("first").await.expect("destroy");
    let since = Instant::now();
    let launched = rig.launch(&driver, &request).await;
    let (agent, _) = rig.claim(&launched).await;
    agent.setup(&SetupRequest::default()).await.expect("setup");
    eprintln!("launched, claimed and set up in {:?}", since.elapsed());
    registry.asked();
    for (id, image) in [("first", &*reference), ("second", &*reference), ("of-pool", "other:1")] {
        let version = container(&agent, id, image).await;
        assert!(version.contains("kiln-agent"), "{version}");
    }
    assert_eq!(registry.asked(), [""; 0], "the first container of a preloaded image asks nobody");
    let build_cache = script(&agent, "cache", "echo $KILN_BUILD_CACHE").await;
    assert!(build_cache.trim_end().ends_with("r.example/layers"), "{build_cache:?}");

    // The engine asks its mirror for what is of Docker Hub, which has fetched it for this host already.
    let pull = "docker rmi other:1; docker pull --quiet other:1";
    script(&agent, "mirrored", pull).await;
    let asked = registry.asked();
    assert!(!asked.is_empty() && asked.iter().all(|path| !path.contains("/blobs/")), "{asked:?}");
    registry.clear();
    script(&agent, "without-upstream", pull).await;
    driver.destroy("containers").await.expect("destroy");
    let images = driver.images();
    // It holds its golden VMs as long as it lives.
    drop(driver);
    images.remove(NAME).await.expect("remove");
    let key = first.image.layer.expect("a layer").digest[..24].to_owned();
    assert!(!rig.layout.layers().join(key).exists(), "the layer goes with its image");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}
