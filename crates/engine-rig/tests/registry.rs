//! An engine pulls from the registry of tests under the names that pipelines use, and pushes to it.

use kiln_engine_rig::registry::{Image, Registry, serve_on_loopback};
use kiln_engine_rig::{Engine, layers};

#[test]
fn images_are_pulled_under_their_own_names_and_can_be_pushed() {
    let Some(engine) = Engine::start_as_root() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let root = scratch.path().join("root");
    std::fs::create_dir_all(root.join("bin")).expect("a folder");
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("Debian's busybox");
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("a link");
    let layer = layers::of_folder(&root, &scratch.path().join("layer.tar")).expect("a layer");
    let image = |name: &str| Image::new(name, std::slice::from_ref(&layer));
    let images = vec![
        image("golang:1.21"),
        image("plugins/own").file("/plugin", "#!/bin/sh\necho \"for $PLUGIN_WHAT\"\n").entrypoint(&["/plugin"]),
        image("quay.example/some/tool:2").env("GREETING", "hello").command(&["sh", "-c", "echo $GREETING"]),
    ];
    let _registry = Registry::start(&engine, images, &["registry.example"], &[]).expect("a registry");

    assert_eq!(engine.docker(&["run", "--rm", "golang:1.21", "sh", "-c", "echo in $0", "go"]), "in go");
    assert_eq!(engine.docker(&["run", "--rm", "--env", "PLUGIN_WHAT=all", "plugins/own"]), "for all");
    assert_eq!(engine.docker(&["run", "--rm", "quay.example/some/tool:2"]), "hello");
    let unknown = engine.within("docker").args(["pull", "golang:1.22"]).output().expect("docker");
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("not found"));

    for name in ["registry.example/own/tool:3", "somebody/tool:3"] {
        engine.docker(&["tag", "golang:1.21", name]);
        engine.docker(&["push", name]);
        engine.docker(&["rmi", name]);
        assert_eq!(engine.docker(&["run", "--rm", name, "sh", "-c", "echo pushed"]), "pushed");
    }
}

#[test]
fn images_are_served_on_loopback_without_an_engine() {
    let scratch = tempfile::tempdir().expect("a folder");
    let root = scratch.path().join("root");
    std::fs::create_dir(&root).expect("a folder");
    std::fs::write(root.join("file"), "in the layer\n").expect("a file");
    let layer = layers::of_folder(&root, &scratch.path().join("layer.tar")).expect("a layer");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let image = Image::new(&format!("{free}/own/tool:2"), std::slice::from_ref(&layer));
    let files = scratch.path().join("files");
    std::fs::create_dir(&files).expect("a folder");
    let mut serving = serve_on_loopback(&files, &free.to_string(), &[image]).expect("a registry");
    let ask = |what: &str| {
        let url = format!("http://{free}/v2/own/tool/{what}");
        let kind = "Accept: application/vnd.docker.distribution.manifest.v2+json";
        let output = std::process::Command::new("curl").args(["--silent", "--fail", "--header", kind, &url]).output();
        String::from_utf8_lossy(&output.expect("curl").stdout).into_owned()
    };
    let (manifest, content, nothing) =
        (ask("manifests/2"), ask(&format!("blobs/sha256:{}", layer.digest)), ask("manifests/3"));
    serving.kill().and_then(|()| serving.wait()).expect("its end");
    assert!(manifest.contains(&layer.digest), "{manifest}");
    assert!(content.contains("in the layer"));
    assert_eq!(nothing, "");
    // Somebody else has the address.
    let _taken = std::net::TcpListener::bind(free).expect("the port");
    let again = serve_on_loopback(&files, &free.to_string(), &[]);
    assert!(again.is_err_and(|error| error.contains("cannot start a registry")));
}

/// What is written in a machine stays there.
#[test]
fn a_machine_has_files_a_network_and_an_engine_of_its_own() {
    if Engine::start_as_root().is_none() {
        return;
    }
    let machine = Engine::machine().expect("a machine");
    let image = machine.busybox();
    let name = machine.folder().file_name().expect("a name").to_string_lossy().into_owned();
    let entered = machine.enter(|| {
        std::fs::write(format!("/harness/{name}"), "from the host\n").expect("a file");
        std::fs::write(format!("/{name}"), "").expect("a file");
        let docker = std::process::Command::new("docker")
            .args([
                "--host",
                "unix:///run/docker.sock",
                "run",
                "--rm",
                "--volume",
                "/harness:/in",
                image,
                "cat",
                &format!("/in/{name}"),
            ])
            .output()
            .expect("docker");
        let own = std::fs::read_to_string("/proc/self/comm").expect("this process");
        (String::from_utf8_lossy(&docker.stdout).into_owned(), own)
    });
    let (printed, own) = entered.expect("a way in");
    assert_eq!(printed, "from the host\n");
    assert!(!own.is_empty());
    assert!(
        !std::path::Path::new(&format!("/harness/{name}")).exists()
            && !std::path::Path::new(&format!("/{name}")).exists()
    );
}
