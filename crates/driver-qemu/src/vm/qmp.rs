//! QEMU's monitor: JSON lines over the socket pair that QEMU got as its standard input.
//!
//! There is no socket file: nothing to clean up, no length limit of a path, and no other process can connect.

use std::io::IoSlice;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::QemuError;

/// A command that is not answered within this never will be.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The longest line that is read.
const LINE_LIMIT_BYTES: u64 = 1024 * 1024;
/// How often a state is asked for while it is waited on.
const POLL_EVERY: Duration = Duration::from_millis(2);

/// A connection to one QEMU's monitor.
#[derive(Debug)]
pub(crate) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next_id: u64,
}

impl Qmp {
    /// Reads the greeting and leaves the capabilities mode.
    pub(crate) async fn open(stream: UnixStream) -> Result<Self, QemuError> {
        let (reader, writer) = stream.into_split();
        let mut qmp = Self { reader: BufReader::new(reader), writer, next_id: 0 };
        let greeting = within(qmp.read_message()).await?;
        if greeting.get("QMP").is_none() {
            return Err(QemuError::Monitor(format!("unexpected greeting {greeting}")));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer.
    pub(crate) async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QemuError> {
        self.execute_with(command, arguments, None).await
    }

    /// Gives QEMU a descriptor under a name, for a later command.
    pub(crate) async fn give(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), QemuError> {
        self.execute_with("getfd", json!({ "fdname": name }), Some(descriptor.as_fd())).await.map(drop)
    }

    async fn execute_with(
        &mut self,
        command: &str,
        arguments: Value,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Value, QemuError> {
        within(async {
            self.next_id += 1;
            let id = self.next_id;
            let mut line = json!({ "execute": command, "arguments": arguments, "id": id }).to_string();
            line.push('\n');
            let sent = match descriptor {
                Some(descriptor) => send_with(self.writer.as_ref(), line.as_bytes(), descriptor).await,
                None => Ok(0),
            };
            let sent = sent.map_err(|e| broken(command, &e))?;
            self.writer.write_all(&line.as_bytes()[sent..]).await.map_err(|e| broken(command, &e))?;
            loop {
                let mut message = self.read_message().await?;
                // Events, and the late answer of a command that was given up, are passed over.
                if message.get("id").and_then(Value::as_u64) != Some(id) {
                    continue;
                }
                if let Some(answer) = message.get_mut("return") {
                    return Ok(answer.take());
                }
                let why = message.pointer("/error/desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(QemuError::Monitor(format!("{command} was refused: {why}")));
            }
        })
        .await
    }

    /// Lets a migration leave out the memory that lives in a file.
    pub(crate) async fn ignore_shared_memory(&mut self) -> Result<(), QemuError> {
        let capability = json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] });
        self.execute("migrate-set-capabilities", capability).await.map(drop)
    }

    /// Waits for a migration out of this QEMU to end.
    pub(crate) async fn wait_migrated(&mut self, limit: Duration) -> Result<(), QemuError> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let answer = self.execute("query-migrate", json!({})).await?;
            match answer.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some(status @ ("failed" | "cancelled")) => {
                    let why = answer.get("error-desc").and_then(Value::as_str).unwrap_or("no reason given");
                    return Err(QemuError::Monitor(format!("saving the VM's state {status}: {why}")));
                }
                _ if tokio::time::Instant::now() > deadline => {
                    return Err(QemuError::Monitor(format!("saving the VM's state took over {limit:?}")));
                }
                _ => tokio::time::sleep(POLL_EVERY).await,
            }
        }
    }

    /// Waits until a state that is being loaded is there.
    pub(crate) async fn wait_loaded(&mut self, limit: Duration) -> Result<(), QemuError> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let answer = self.execute("query-status", json!({})).await?;
            match answer.get("status").and_then(Value::as_str) {
                Some("inmigrate") if tokio::time::Instant::now() < deadline => tokio::time::sleep(POLL_EVERY).await,
                Some("inmigrate") => {
                    return Err(QemuError::Monitor(format!("loading the golden VM's state took over {limit:?}")));
                }
                Some("paused" | "running" | "postmigrate" | "prelaunch") => return Ok(()),
                status => return Err(QemuError::Monitor(format!("after loading, the VM is {status:?}"))),
            }
        }
    }

    /// The port on the host's loopback that QEMU chose for the forwarding to the guest's `guest_port`.
    pub(crate) async fn forwarded_port(&mut self, guest_port: u16) -> Result<u16, QemuError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": "info usernet" })).await?;
        let text = answer.as_str().unwrap_or_default();
        parse_forwarded_port(text, guest_port)
            .ok_or_else(|| QemuError::Monitor(format!("no forwarding to port {guest_port} among:\n{text}")))
    }

    async fn read_message(&mut self) -> Result<Value, QemuError> {
        let mut line = String::new();
        let mut bounded = (&mut self.reader).take(LINE_LIMIT_BYTES);
        let read = bounded.read_line(&mut line).await.map_err(|e| broken("reading", &e))?;
        if read == 0 || !line.ends_with('\n') {
            return Err(QemuError::Monitor("the connection ended".to_owned()));
        }
        serde_json::from_str(&line).map_err(|e| QemuError::Monitor(format!("not JSON ({e}): {}", line.trim_end())))
    }
}

/// Sends the beginning of `bytes`, with a descriptor; returns how many were sent.
async fn send_with(stream: &UnixStream, bytes: &[u8], descriptor: BorrowedFd<'_>) -> std::io::Result<usize> {
    let descriptors = [descriptor.as_raw_fd()];
    let send = || {
        let (parts, messages) = ([IoSlice::new(bytes)], [ControlMessage::ScmRights(&descriptors)]);
        Ok(sendmsg::<()>(stream.as_raw_fd(), &parts, &messages, MsgFlags::empty(), None)?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}

async fn within<T>(work: impl Future<Output = Result<T, QemuError>>) -> Result<T, QemuError> {
    tokio::time::timeout(ANSWER_LIMIT, work)
        .await
        .map_err(|_| QemuError::Monitor(format!("no answer within {ANSWER_LIMIT:?}")))?
}

fn broken(doing: &str, error: &std::io::Error) -> QemuError {
    QemuError::Monitor(format!("{doing}: {error}"))
}

/// Reads lines such as `TCP[HOST_FORWARD]  8  127.0.0.1 40295  10.0.2.15  9079  0  0`.
fn parse_forwarded_port(text: &str, guest_port: u16) -> Option<u16> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, _fd, "127.0.0.1", host, _guest, guest, ..] = words[..] else { return None };
        (kind == "TCP[HOST_FORWARD]" && guest.parse() == Ok(guest_port)).then(|| host.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarded_port_is_read_from_the_table() {
        let head =
            "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n";
        let check =
            |rows: &str, expect| assert_eq!(parse_forwarded_port(&format!("{head}{rows}"), 9079), expect, "{rows}");
        check("  TCP[HOST_FORWARD]   8       127.0.0.1 40295       10.0.2.15  9079     0     0\r\n", Some(40295));
        check("  TCP[ESTABLISHED]    9       127.0.0.1 40295       10.0.2.15  9079     0     0\r\n", None);
        check("  TCP[HOST_FORWARD]   8       127.0.0.1 40295       10.0.2.15    22     0     0\r\n", None);
        check("", None);
    }

    async fn script(lines: &'static str) -> Result<Value, QemuError> {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let peer = tokio::spawn(async move {
            theirs.write_all(b"{\"QMP\":{}}\n{\"return\":{},\"id\":1}\n").await.expect("write");
            theirs.write_all(lines.as_bytes()).await.expect("write");
            theirs
        });
        let mut qmp = Qmp::open(ours).await?;
        let answer = qmp.execute("query-status", json!({})).await;
        drop(peer.await);
        answer
    }

    #[tokio::test]
    async fn answers_are_told_from_events_and_errors() {
        let event = "{\"event\":\"STOP\"}\n";
        let good = script("{\"event\":\"STOP\"}\n{\"return\":{\"status\":\"running\"},\"id\":2}\n").await;
        assert_eq!(good.expect("an answer")["status"], "running");
        let refused = script("{\"error\":{\"class\":\"x\",\"desc\":\"no such thing\"},\"id\":2}\n").await;
        assert!(refused.expect_err(event).to_string().contains("query-status was refused: no such thing"));
    }

    #[tokio::test]
    async fn garbage_and_an_early_end_are_errors() {
        assert!(script("hello\n").await.expect_err("garbage").to_string().contains("not JSON"));
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        assert!(Qmp::open(ours).await.expect_err("no peer").to_string().contains("monitor"));
    }
}
