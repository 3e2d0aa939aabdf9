//! The engine of tests runs containers, keeps to itself, and ends with those who started it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_engine_rig::Engine;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_container_runs_a_shell_and_its_exit_code_comes_back() {
    let Some(engine) = Engine::shared() else { return };
    assert!(engine.answers());
    let image = engine.busybox();
    assert_eq!(engine.docker(&["run", "--rm", image, "sh", "-c", "echo $((6 * 7)) && id -un"]), "42\nroot");
    let failed = engine.within("docker").args(["run", "--rm", image, "sh", "-c", "exit 3"]).status();
    assert_eq!(failed.expect("docker").code(), Some(3));
}

#[test]
fn an_image_of_a_folder_has_its_files_and_its_entrypoint() {
    let Some(engine) = Engine::shared() else { return };
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("bin")).expect("a folder");
    std::fs::copy("/bin/busybox", root.path().join("bin/busybox")).expect("a file");
    std::fs::write(root.path().join("greeting"), "hello\n").expect("a file");
    engine.import_with("quay.example/own/tool:1", root.path(), &[r#"ENTRYPOINT ["/bin/busybox", "cat"]"#]);
    assert_eq!(engine.docker(&["run", "--rm", "quay.example/own/tool:1", "/greeting"]), "hello");
}

#[test]
fn a_privileged_container_runs() {
    let Some(engine) = Engine::shared() else { return };
    let mount = "mount -t tmpfs none /tmp && grep -c ' /tmp tmpfs' /proc/mounts";
    assert_eq!(engine.docker(&["run", "--rm", "--privileged", engine.busybox(), "sh", "-c", mount]), "1");
    let id = engine.docker(&["run", "--detach", "--privileged", engine.busybox(), "sleep", "600"]);
    assert_eq!(engine.docker(&["exec", &id, "sh", "-c", mount]), "1");
}

#[test]
fn containers_of_a_network_find_each_other_by_name() {
    let Some(engine) = Engine::shared() else { return };
    let image = engine.busybox();
    engine.docker(&["network", "create", "names"]);
    let serve = "echo found >/tmp/index.html && exec httpd -f -h /tmp";
    engine.docker(&["run", "--detach", "--network", "names", "--network-alias", "db", image, "sh", "-c", serve]);
    let ask = "until wget -q -O - http://db/; do sleep 0.1; done";
    assert_eq!(engine.docker(&["run", "--rm", "--network", "names", image, "timeout", "30", "sh", "-c", ask]), "found");
}

/// Both publish the same port under the same name.
#[test]
fn two_engines_know_nothing_of_each_other() {
    let Some(first) = Engine::start_as_root() else { return };
    let second = Engine::start().expect("a second engine");
    for (engine, text) in [(&first, "first"), (&second, "second")] {
        let serve = format!("echo {text} >/tmp/index.html && exec httpd -f -h /tmp");
        let image = engine.busybox();
        engine.docker(&["run", "--detach", "--name", "web", "--publish", "8080:80", image, "sh", "-c", &serve]);
    }
    for (engine, text) in [(&first, "first"), (&second, "second")] {
        let ask = "until busybox wget -q -O - http://127.0.0.1:8080/; do sleep 0.1; done";
        let answer = engine.within("timeout").args(["30", "sh", "-c", ask]).output().expect("nsenter");
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), text);
    }
}

#[test]
fn an_engine_whose_owner_is_killed_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can start a container engine");
        return;
    }
    let mut owner = Command::new(env!("CARGO_BIN_EXE_kiln-test-engine"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program of this crate");
    let mut lines = BufReader::new(owner.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
    let host = lines.next().expect("an engine").strip_prefix("DOCKER_HOST=").expect("its address").to_owned();
    let init = lines.next().expect("a process").strip_prefix("INIT=").expect("its number").to_owned();
    let folder = Path::new(host.strip_prefix("unix://").expect("a socket")).parent().expect("a folder").to_owned();
    let container = Command::new("docker")
        .args(["--host", &host, "run", "--detach", kiln_engine_rig::BUSYBOX, "sleep", "3600"])
        .output()
        .expect("docker");
    assert!(container.status.success(), "{}", String::from_utf8_lossy(&container.stderr));
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let before = leftovers(&folder, &name, &init);
    assert!(before.iter().any(|left| left.contains("cgroup")) && before.len() > 3, "{before:?}");

    owner.kill().expect("a process to kill");
    owner.wait().expect("its end");
    let begun = Instant::now();
    while !leftovers(&folder, &name, &init).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "left behind: {:?}", leftovers(&folder, &name, &init));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What there is of an engine: its folder, its first process, all processes in its namespaces, its control groups, mounts in this
/// process's view.
fn leftovers(folder: &Path, name: &str, init: &str) -> Vec<String> {
    let mut left = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    left.extend(mounts.lines().filter(|line| line.contains(name)).map(|line| format!("the mount {line}")));
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let control = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(name) || control.contains(name) {
            left.push(format!("the process {}", entry.path().display()));
        }
    }
    for path in [folder.to_owned(), Path::new("/proc").join(init)] {
        left.extend(path.exists().then(|| path.display().to_string()));
    }
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let group = hierarchy.path().join(name);
        left.extend(group.exists().then(|| format!("the control group {}", group.display())));
    }
    left.extend(Path::new("/sys/fs/cgroup").join(name).exists().then(|| "the control group".to_owned()));
    left
}
