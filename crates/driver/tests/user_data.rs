//! The user data, as cloud-init and a shell read it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_driver::user_data::{Engine, MAX_USER_DATA_BYTES, UserData, UserDataError};
use serde_json::Value;

/// Any digest will do, because only its form is checked.
const AGENT_SHA256: &str = "b0c5fa5c5b4f2fde8d3ec1ae5e4f0e0a0b0b1ca9c2d0d6d9d1d5bfb0a2d0f4f4";

fn sample() -> UserData {
    UserData {
        ca_pem: "-----BEGIN CERTIFICATE-----\nca\n-----END CERTIFICATE-----\n".to_owned(),
        server_cert_pem: "cert: \"quoted\"\n".to_owned(),
        server_key_pem: "key\n".to_owned(),
        agent_sha256: AGENT_SHA256.to_owned(),
        agent_url: Some("https://example.test/kiln-agent".to_owned()),
        lease: Some(Duration::from_secs(600)),
        max_age: Some(Duration::from_secs(7200)),
        agent_env: BTreeMap::from([("DEBUG".to_owned(), "true".to_owned())]),
        engine: Engine::default(),
    }
}

fn files(data: &UserData) -> BTreeMap<String, (String, String)> {
    let text = data.render().expect("user data");
    assert!(text.len() <= MAX_USER_DATA_BYTES);
    let body = text.strip_prefix("#cloud-config\n").expect("the marker that cloud-init looks for");
    let document: Value = serde_json::from_str(body).expect("JSON");
    let field = |file: &Value, name: &str| file[name].as_str().expect(name).to_owned();
    let files = document["write_files"].as_array().expect("files");
    files.iter().map(|f| (field(f, "path"), (field(f, "permissions"), field(f, "content")))).collect()
}

#[test]
fn keys_are_private_and_settings_are_the_agents() {
    let files = files(&sample());
    assert_eq!(files["/etc/kiln/server-key.pem"], ("0600".to_owned(), "key\n".to_owned()));
    assert_eq!(files["/etc/kiln/server-cert.pem"].1, "cert: \"quoted\"\n");
    let env = "CLIENT_CERT_FILE=/etc/kiln/ca-cert.pem\nDEBUG=true\nHTTPS_BIND=:9079\nKILN_DOCKER_SOCKET=false\nKILN_LEASE_S=600\n\
               SERVER_CERT_FILE=/etc/kiln/server-cert.pem\nSERVER_KEY_FILE=/etc/kiln/server-key.pem\nSKIP_PREPARE_SERVER=true\n";
    assert_eq!(files["/etc/kiln/agent.env"], ("0600".to_owned(), env.to_owned()));
    assert!(files["/etc/systemd/system/kiln-max-age.timer"].1.contains("OnActiveSec=7200s"));
    let unit = &files["/etc/systemd/system/kiln-agent.service"].1;
    for line in ["Restart=always", "KillMode=mixed", "Delegate=yes", "OOMPolicy=continue"] {
        assert!(unit.lines().any(|l| l == line), "{line} is not in:\n{unit}");
    }
}

#[test]
fn the_engine_is_told_its_mirror_and_nothing_that_was_not_asked_for() {
    const FILE: &str = "/etc/docker/daemon.json";
    assert!(!files(&sample()).contains_key(FILE), "the image's own configuration stays");
    let check = |engine: Engine, expect: &str| {
        let files = files(&UserData { engine, ..sample() });
        assert_eq!(files[FILE], ("0644".to_owned(), format!("{expect}\n")));
    };
    let mirrored = Engine { registry_mirrors: vec!["http://10.0.2.2:5000".to_owned()], ..Engine::default() };
    check(mirrored.clone(), r#"{"registry-mirrors":["http://10.0.2.2:5000"]}"#);
    let plain = Engine { insecure_registries: vec!["r.example:5000".to_owned()], ..mirrored };
    check(plain, r#"{"insecure-registries":["r.example:5000"],"registry-mirrors":["http://10.0.2.2:5000"]}"#);
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let check = |change: fn(&mut UserData), expect: &str| {
        let mut data = sample();
        change(&mut data);
        let error = data.render().expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(|d| d.agent_sha256 = "12".to_owned(), "is not a SHA-256");
    check(|d| d.agent_sha256.replace_range(..1, "B"), "is not a SHA-256");
    check(|d| d.agent_url = Some("https://x/'; rm -rf /".to_owned()), "is not a URL");
    check(|d| d.agent_url = Some("file:///etc/passwd".to_owned()), "is not a URL");
    check(|d| drop(d.agent_env.insert("a b".to_owned(), String::new())), "`a b` cannot be put");
    check(|d| drop(d.agent_env.insert("A".to_owned(), "x\nSERVER_INSECURE=true".to_owned())), "`A` cannot be put");
    let mut long = sample();
    long.agent_env.insert("LONG".to_owned(), "x".repeat(MAX_USER_DATA_BYTES));
    assert!(matches!(long.render(), Err(UserDataError::TooLong { .. })));
}

/// Runs the bootstrap script in a directory of its own, with stand-ins for the programs that change the machine.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new(data: &UserData) -> Self {
        let machine = Self { root: tempfile::tempdir().expect("a directory") };
        for (path, (_, content)) in files(data) {
            machine.write(&path, &content);
        }
        machine.program("systemctl", "echo \"$@\" >> \"$LOG\"");
        machine.program("blkid", "[ -f \"$ROOT/seed/kiln-agent\" ] && echo /dev/seed");
        machine.program("mount", "cp \"$ROOT/seed/kiln-agent\" \"$4/\"");
        machine.program("umount", "rm \"$1/kiln-agent\"");
        machine.program(
            "curl",
            "while [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done; cp \"$ROOT/web\" \"$out\"",
        );
        machine.program("sleep", ":");
        machine
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("create");
        std::fs::write(path, content).expect("write");
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn program(&self, name: &str, body: &str) {
        self.write(&format!("stand-ins/{name}"), &format!("#!/bin/sh\n{body}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(&format!("stand-ins/{name}")), mode).expect("chmod");
    }

    fn boot(&self) -> (bool, String) {
        let log = self.path("log");
        let output = Command::new("/bin/sh")
            .arg(self.path("etc/kiln/bootstrap.sh"))
            .env("KILN_ROOT", self.root.path())
            .env("ROOT", self.root.path())
            .env("LOG", &log)
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("stand-ins").display()))
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &std::fs::read_to_string(log).unwrap_or_default())
    }

    fn installed(&self) -> Option<String> {
        std::fs::read_to_string(self.path("usr/local/bin/kiln-agent")).ok()
    }
}

fn sha256_of(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path: &Path = &dir.path().join("f");
    std::fs::write(path, text).expect("write");
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    String::from_utf8_lossy(&output.stdout).split(' ').next().expect("a digest").to_owned()
}

#[test]
fn the_agent_is_taken_from_the_first_place_that_has_the_right_one() {
    let right = "the agent\n";
    let check = |places: [Option<&str>; 3], expect: Option<&str>, says: &str| {
        let machine = Machine::new(&UserData { agent_sha256: sha256_of(right), ..sample() });
        for (place, content) in ["usr/local/bin/kiln-agent", "seed/kiln-agent", "web"].iter().zip(places) {
            if let Some(content) = content {
                machine.write(place, content);
            }
        }
        let (ok, said) = machine.boot();
        assert_eq!(
            (ok, ok.then(|| machine.installed()).flatten().as_deref()),
            (expect.is_some(), expect),
            "{places:?}: {said}"
        );
        assert!(said.contains(says), "{places:?}: {said}");
        assert_eq!(
            said.contains("restart --no-block kiln-agent.service kiln-settled.service kiln-max-age.timer"),
            ok,
            "{said}"
        );
        let enabled = machine.path("etc/systemd/system/multi-user.target.wants/kiln-agent.service");
        assert_eq!(enabled.exists(), ok, "{places:?}: {said}");
    };
    check([Some(right), Some("wrong"), Some("wrong")], Some(right), "installed already");
    check([Some("old"), Some(right), None], Some(right), "came from the seed disk");
    check([None, Some("wrong"), Some(right)], Some(right), "came from its URL");
    check([None, None, Some(right)], Some(right), "came from its URL");
    check([None, None, Some("wrong")], None, "no agent with SHA-256");
    check([Some("old"), None, None], None, "no agent with SHA-256");
}
