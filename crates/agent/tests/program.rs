//! The program itself: its command line, its settings, its memory.

mod rig;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use futures::StreamExt as _;
use kiln_tls::Authority;
use rig::{Client, NAME, content, pem, step, until, until_dead};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");
const MIB: u64 = 1 << 20;

struct Program {
    child: Child,
    dir: tempfile::TempDir,
    client: Client,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program as cloud-init does, with the original's names of settings.
fn start(flag: &str) -> Program {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::create().expect("a CA");
    let server = pem(&authority, &authority.issue_server(NAME).expect("a certificate"));
    let at = |name: &str| dir.path().join(name).display().to_string();
    for (name, text) in [("ca.pem", &server.ca), ("cert.pem", &server.cert), ("key.pem", &server.key)] {
        std::fs::write(at(name), text).expect("a file");
    }
    let settings = format!(
        "# settings\nSERVER_HTTPS_BIND=127.0.0.1:0\nCLIENT_CERT_FILE=\"{}\"\nSERVER_CERT_FILE='{}'\nSERVER_KEY_FILE={}\n\
         HARNESS_WORKDIR={}\nKILN_STATE_DIR={}\nSKIP_PREPARE_SERVER=true\nFROM_FILE=from the file\nKILN_KILL_GRACE_MS=500\n",
        at("ca.pem"),
        at("cert.pem"),
        at("key.pem"),
        at("work"),
        at("state")
    );
    std::fs::write(at(".env"), settings).expect("a file");
    let mut command = Command::new(PROGRAM);
    command.arg("server");
    if flag.ends_with('=') {
        command.arg(format!("{flag}{}", at(".env")))
    } else {
        command.arg(flag).arg(at(".env"))
    };
    let mut child = command.stderr(Stdio::piped()).env("FROM_FILE", "overridden").spawn().expect("the program");
    let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening address=").map(|(_, a)| a.to_owned()));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let runner = pem(&authority, &authority.issue_client("runner").expect("a certificate"));
    let client = Client::new(address.expect("its address").parse().expect("an address"), NAME, &runner);
    Program { child, dir, client }
}

fn memory_bytes(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(arguments).output().expect("the program");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn command_line() {
    let version = format!("kiln-agent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["-v"]), (Some(0), version.clone()));
    assert_eq!(run(&["--version"]), (Some(0), version));
    assert!(run(&["--help"]).1.starts_with("Usage: kiln-agent server"));
    for wrong in [&[][..], &["client"], &["server", "--wrong"], &["server", "--env-file", "/no/such/file"]] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(1), "{wrong:?}: {text}");
        assert!(text.starts_with("Error: "), "{text}");
    }
}

#[tokio::test]
async fn settings_come_from_the_file_and_reach_the_steps_and_sigterm_ends_it() {
    for flag in ["--env-file", "--env-file="] {
        let mut program = start(flag);
        let end = program.client.run(&step("s1", "echo $FROM_FILE")).await;
        assert_eq!(end.exit_code, 0, "{}", end.error);
        assert_eq!(program.client.output("s1", 0).await, "from the file\n");
        let terminated = Command::new("kill").arg(program.child.id().to_string()).status().expect("kill");
        assert!(terminated.success());
        let status = until("the program to end", async || program.child.try_wait().expect("its status")).await;
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test]
async fn orphans_are_adopted_reaped_and_ended_by_destroy() {
    let program = start("--env-file");
    let pid = program.dir.path().join("pid");
    let script = format!("setsid sh -c 'sh -c \"echo \\$\\$ > {}; exec sleep 1000\" &'", pid.display());
    program.client.run(&step("s1", &script)).await;
    let pid = content(pid).await;
    program.client.ok("/destroy", &json!({})).await;
    until_dead(&pid).await;
    until("the orphan to be reaped", async || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn two_gigabytes_of_output_leave_the_agent_small_and_a_late_reader_gets_its_bytes() {
    const TOTAL: u64 = 2_000_000_000;
    const TAIL: u64 = 32 * MIB;
    let program = start("--env-file");
    let end = program.client.run(&step("s1", &format!("yes 0123456789abcde | head -c {TOTAL}"))).await;
    assert_eq!((end.exit_code, end.output_bytes), (0, TOTAL));
    let offset = TOTAL - TAIL;
    let answer = program.client.send("/kiln/v1/output", &json!({"id": "s1", "offset": offset, "follow": true})).await;
    let mut body = answer.bytes_stream();
    let mut at = offset;
    while let Some(chunk) = body.next().await {
        for byte in chunk.expect("bytes") {
            assert_eq!(byte, b"0123456789abcde\n"[(at % 16) as usize], "at {at}");
            at += 1;
        }
    }
    assert_eq!(at, TOTAL);
    let most = memory_bytes(program.child.id(), "VmHWM");
    assert!(most < 32 * MIB, "{most} bytes were resident");
}
