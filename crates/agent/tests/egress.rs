//! The proxy of a setup for the daemon of the container engine, on a machine that is the agent's own.

#[path = "rig/program.rs"]
mod program;
mod rig;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use program::Program;
use serde_json::json;

const UNIT_DIR: &str = "root/etc/systemd/system/docker.service.d";

/// A program that does what it is asked beside a `systemctl` that notes its arguments, and ends with the status that a
/// file names.
struct Machine {
    program: Program,
    tools: tempfile::TempDir,
}

impl Machine {
    fn start() -> Self {
        let tools = tempfile::tempdir().expect("a directory");
        let dir = tools.path().display();
        let systemctl =
            format!("#!/bin/sh\necho \"$*\" >> {dir}/asked\nexit $(cat {dir}/status 2>/dev/null || echo 0)\n");
        script(&tools.path().join("systemctl"), &systemctl);
        let agent = env!("CARGO_BIN_EXE_kiln-agent");
        let start = tools.path().join("agent");
        script(&start, &format!("#!/bin/sh\nPATH={dir}:$PATH exec {agent} \"$@\"\n"));
        // Nobody claims it, and it has no lease, so of the kernel it changes nothing.
        let program = Program::start_with(&start.display().to_string(), "--env-file", "KILN_CHANGE_KERNEL=true\n");
        Self { program, tools }
    }

    /// What `systemctl` was asked since the last look.
    fn asked(&self) -> String {
        let asked = self.tools.path().join("asked");
        let text = std::fs::read_to_string(&asked).unwrap_or_default();
        // It may not be there.
        drop(std::fs::remove_file(asked));
        text
    }

    fn unit_file(&self, name: &str) -> PathBuf {
        self.program.dir.path().join(UNIT_DIR).join(name)
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.unit_file("http-proxy.env")).unwrap_or_default()
    }
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[tokio::test]
async fn secrets_defect_the_proxy_of_a_policy_is_told_to_the_engine_in_a_file_for_root_alone() {
    let machine = Machine::start();
    let client = &machine.program.client;
    let policy =
        |url: &str| json!({"proxy_url": url, "username": "ann", "password": "p@ss \"word\"", "no_proxy": "a,b"});
    client.ok("/setup", &json!({ "egress_policy": policy("http://proxy.example:3128") })).await;
    assert_eq!(machine.asked(), "daemon-reload\ntry-restart docker.service\n");
    let expect = "HTTPS_PROXY=\"http://ann:p%40ss%20%22word%22@proxy.example:3128\"\n";
    assert!(machine.told().contains(expect), "{}", machine.told());
    assert!(machine.told().contains("no_proxy=\"a,b\"\n"), "{}", machine.told());
    let mode = std::fs::metadata(machine.unit_file("http-proxy.env")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let unit = std::fs::read_to_string(machine.unit_file("http-proxy.conf")).expect("a file");
    assert!(unit.contains("EnvironmentFile=") && !unit.contains("ann"), "{unit}");
    // The same proxy restarts nothing; another one does.
    client.ok("/setup", &json!({ "egress_policy": policy("http://proxy.example:3128"), "envs": {"A": "1"} })).await;
    assert_eq!(machine.asked(), "");
    client.ok("/setup", &json!({ "egress_policy": policy("http://other.example:1") })).await;
    assert_eq!(machine.asked(), "daemon-reload\ntry-restart docker.service\n");
    assert!(machine.told().contains("@other.example:1\""), "{}", machine.told());
    assert!(!machine.program.log().contains("p%40ss"), "{}", machine.program.log());
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_told_to_the_engine_too() {
    let machine = Machine::start();
    let envs = json!({"HARNESS_HTTPS_PROXY": "http://proxy.example:3128", "HARNESS_NO_PROXY": "internal.example"});
    machine.program.client.ok("/setup", &json!({ "envs": envs })).await;
    assert_eq!(machine.asked(), "daemon-reload\ntry-restart docker.service\n");
    let told = machine.told();
    assert!(
        told.contains("HTTP_PROXY=\"http://proxy.example:3128\"\n") && told.contains("\"internal.example\"\n"),
        "{told}"
    );
}

#[tokio::test]
async fn a_setup_whose_proxy_the_engine_does_not_take_is_refused() {
    let machine = Machine::start();
    std::fs::write(machine.tools.path().join("status"), "1").expect("a file");
    let policy = json!({"egress_policy": {"proxy_url": "http://proxy.example:3128"}});
    for round in 0..2 {
        let (status, message) = machine.program.client.refused("/setup", &policy).await;
        assert_eq!(status, 500, "round {round}");
        assert!(message.contains("systemctl daemon-reload failed"), "{message}");
    }
    // A later try does all of it.
    drop(machine.asked());
    std::fs::remove_file(machine.tools.path().join("status")).expect("a file");
    machine.program.client.ok("/setup", &policy).await;
    assert_eq!(machine.asked(), "daemon-reload\ntry-restart docker.service\n");
}
