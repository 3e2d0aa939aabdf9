//! A program under a warden, in QEMU's place.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_reach_out");
/// What runs wardens.
pub const WARDEN: &str = env!("CARGO_BIN_EXE_hold_clones");
/// A user without any rights, and one as VMs get them.
pub const NOBODY: u32 = 65534;
const VMS: u32 = 0x7000_0007;

/// Who the warden and the program are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the test.
    Same,
    /// Root starts it, and it becomes the user of a VM.
    OfVm,
    /// An ordinary user starts it.
    Ordinary,
}

/// A started program.
pub struct Guarded {
    pub child: Child,
    input: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    kiln: UnixStream,
}

/// What else it gets.
#[derive(Default)]
pub struct Extras {
    pub agent: Option<UnixListener>,
    pub sign_of_life: Option<OwnedFd>,
}

impl Guarded {
    /// Starts the program with these words, under a warden of this thread's network.
    pub fn start(who: Who, words: &[String], network: &serde_json::Value, extras: Extras) -> Self {
        // Until it is started, the descriptors are open to any child.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let (kiln, its_end) = UnixStream::pair().expect("a pair");
        let mut command = Command::new(WARDEN);
        command.arg("vm-warden").arg(its_end.as_raw_fd().to_string()).env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if who == Who::Ordinary {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = {
            let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let agent = extras.agent.as_ref().map(|agent| agent.as_fd());
            let passed = [Some(its_end.as_fd()), agent, extras.sign_of_life.as_ref().map(|sign| sign.as_fd())];
            let set = |flags: FdFlag| {
                for descriptor in passed.iter().flatten() {
                    fcntl(descriptor, FcntlArg::F_SETFD(flags)).expect("a flag");
                }
            };
            set(FdFlag::empty());
            let child = command.spawn().expect("the warden");
            set(FdFlag::FD_CLOEXEC);
            child
        };
        let ids = (who == Who::OfVm).then(|| json!({ "uid": VMS, "gid": VMS }));
        let program: Vec<&str> = std::iter::once(PROGRAM).chain(words.iter().map(String::as_str)).collect();
        let orders = json!({
            "words": program,
            "ids": ids,
            "sign_of_life": extras.sign_of_life.as_ref().map(|sign| sign.as_raw_fd()),
            "agent": extras.agent.as_ref().map(|agent| agent.as_raw_fd()),
            "agent_port": 9079,
            "network": network,
            "owner": std::process::id(),
        });
        (&kiln).write_all(orders.to_string().as_bytes()).expect("the orders");
        kiln.shutdown(Shutdown::Write).expect("their end");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let input = child.stdin.take();
        Self { child, input, lines, kiln }
    }

    /// The next line that the program says.
    pub fn line(&mut self) -> String {
        match self.lines.next() {
            Some(line) => line.expect("a line"),
            None => panic!("it ended: {:?}; {}", self.child.wait(), self.errors()),
        }
    }

    /// Lets it end, and returns what it and its warden said on their errors.
    pub fn end(mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let rest: Vec<String> = self.lines.by_ref().map(|line| line.expect("a line")).collect();
        drop(rest);
        let status = self.child.wait().expect("its end");
        (status, self.errors())
    }

    fn errors(&mut self) -> String {
        let mut said = String::new();
        let errors = self.child.stderr.as_mut().expect("its errors");
        errors.read_to_string(&mut said).expect("text");
        self.kiln.read_to_string(&mut said).expect("text");
        said
    }

    /// The warden's process.
    pub fn warden(&self) -> i32 {
        let all = std::fs::read_dir("/proc").expect("processes").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let its_child = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
            parent == Some(self.child.id())
        };
        let found: Vec<i32> = pids.filter(its_child).collect();
        assert_eq!(found.len(), 1, "it has one child: {found:?}");
        found[0]
    }
}
