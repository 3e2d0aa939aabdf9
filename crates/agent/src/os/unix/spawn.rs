//! Starting a process: in its cgroup from its first instruction, and without a copy of the agent's memory.
//!
//! | way | what it takes | what it spares |
//! |---|---|---|
//! | `clone3` into the cgroup | Linux 5.7, a cgroup of version 2 | the kernel's wait of milliseconds when a process is moved |
//! | `clone3` | Linux 5.3, and no filter that refuses it | the copy of the agent's page tables |
//! | `fork` | nothing | nothing |
//!
//! Each is tried when the one above it is refused. By the last two the child enters its cgroup by writing to
//! `cgroup.procs`. By the first two the child shares the agent's memory, and the calling thread waits, until it executes
//! its program; so what goes wrong before that is left in memory, and by the last one in a pipe.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use super::child::{Child, enter};
use super::clone;

/// The child's stack until it executes its program. It makes system calls from a few small functions.
const STACK_BYTES: usize = 16 * 1024;

/// How a process is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `clone3` into the cgroup.
    IntoCgroup,
    /// `clone3`.
    Clone,
    /// `fork`.
    Fork,
}

/// All of them, the best one first.
pub(super) const WAYS: [Way; 3] = [Way::IntoCgroup, Way::Clone, Way::Fork];

/// What is started.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The file.
    pub(super) program: &'a CStr,
    /// Its name for itself and its arguments.
    pub(super) arguments: &'a [&'a CStr],
    /// Its environment, each as `NAME=VALUE`.
    pub(super) environment: &'a [&'a CStr],
    /// Where it starts.
    pub(super) dir: &'a CStr,
    /// Its standard input.
    pub(super) input: BorrowedFd<'a>,
    /// Its standard output and error.
    pub(super) output: BorrowedFd<'a>,
    /// Whether its standard input is to be the terminal of a session of its own.
    pub(super) terminal: bool,
    /// User, group and all groups it is given; none for the agent's own.
    pub(super) identity: Option<(u32, u32, &'a [u32])>,
    /// Its cgroup.
    pub(super) cgroup: Option<&'a Cgroup>,
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: i32,
    /// Readable when it has ended; none where the kernel does not know such.
    pub(super) pidfd: Option<OwnedFd>,
    /// How it was started.
    pub(super) way: Way,
}

/// Starts it by the first of these ways that is to be had.
pub(super) fn spawn(plan: &Plan<'_>, ways: &[Way]) -> io::Result<Spawned> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for way in ways {
        let started = match (way, plan.cgroup) {
            (Way::IntoCgroup, None) => continue,
            (Way::IntoCgroup, Some(cgroup)) => match cgroup.open() {
                Ok(dir) => by_clone(plan, Some(&dir)),
                Err(error) => Err(Failure::Refused(error)),
            },
            (Way::Clone, _) => by_clone(plan, None),
            (Way::Fork, _) => by_fork(plan),
        };
        match started {
            Err(Failure::Refused(error)) => refused = error,
            Err(Failure::Child(error)) => return Err(error),
            Ok(spawned) => return Ok(spawned),
        }
    }
    Err(refused)
}

enum Failure {
    /// There is no process by this way; there may be by another.
    Refused(io::Error),
    /// The process could not execute its program, or no further one may be made.
    Child(io::Error),
}

fn by_clone(plan: &Plan<'_>, cgroup: Option<&File>) -> Result<Spawned, Failure> {
    let pointers = Pointers::of(plan);
    let procs = if cgroup.is_none() { procs(plan) } else { None };
    let mut child = pointers.child(plan, procs.as_ref(), None);
    let way = if cgroup.is_some() { Way::IntoCgroup } else { Way::Clone };
    let cgroup = cgroup.map(File::as_raw_fd);
    let mut stack = Box::new_uninit_slice(STACK_BYTES / size_of::<u128>());
    let signals = Signals::block();
    // SAFETY: the child runs `enter`, which makes only system calls and touches only `child`, what that points to, and
    // its own stack. All of these live until the call returns, which it does when the child has executed its program
    // or ended. Its signals are blocked, so no handler of the agent's runs in it.
    let cloned = unsafe { clone::in_memory(&mut stack, cgroup, enter_from, (&raw mut child).cast()) };
    drop(signals);
    let (pid, pidfd) = cloned.map_err(|error| match error.raw_os_error() {
        // No more processes, or no more memory: another way would need them too.
        Some(libc::EAGAIN | libc::ENOMEM) => Failure::Child(error),
        _ => Failure::Refused(error),
    })?;
    started(pid, Some(pidfd), way, child.error)
}

extern "C" fn enter_from(child: *mut c_void) -> ! {
    // SAFETY: `by_clone` passes a pointer to its `Child`, which nobody else uses meanwhile.
    let child = unsafe { &mut *child.cast::<Child>() };
    // SAFETY: this is the child.
    unsafe { enter(child) }
}

fn by_fork(plan: &Plan<'_>) -> Result<Spawned, Failure> {
    let (mut report, writer) = io::pipe().map_err(Failure::Child)?;
    let (pointers, procs) = (Pointers::of(plan), procs(plan));
    let mut child = pointers.child(plan, procs.as_ref(), Some(writer.as_raw_fd()));
    let signals = Signals::block();
    // SAFETY: the child runs `enter` only, which makes no call but those that are allowed after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: this is the child.
        unsafe { enter(&mut child) }
    }
    let forked = if pid < 0 { Err(Failure::Child(io::Error::last_os_error())) } else { Ok(pid) };
    drop(signals);
    let pid = forked?;
    drop(writer);
    let mut error = [0; size_of::<c_int>()];
    // The other end is closed when the program is executed.
    let told = report.read_exact(&mut error).is_ok();
    // SAFETY: the call takes no memory. The child is not reaped yet, so the number is its own.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = RawFd::try_from(pidfd).ok().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    started(pid, pidfd, Way::Fork, if told { c_int::from_ne_bytes(error) } else { 0 })
}

/// Where the child enters its cgroup. Without it the step still runs and is supervised by the other means.
fn procs(plan: &Plan<'_>) -> Option<File> {
    plan.cgroup?.procs().inspect_err(|error| tracing::warn!(%error, "no cgroup for this step")).ok()
}

fn started(pid: i32, pidfd: Option<OwnedFd>, way: Way, error: c_int) -> Result<Spawned, Failure> {
    if error == 0 {
        return Ok(Spawned { pid, pidfd, way });
    }
    // It ends at once, and nobody else waits for it.
    let _ = waitpid(Pid::from_raw(pid), None);
    Err(Failure::Child(io::Error::from_raw_os_error(error)))
}

/// Lists of pointers as `execve` takes them: with a null at their end.
struct Pointers {
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Pointers {
    fn of(plan: &Plan<'_>) -> Self {
        let list = |strings: &[&CStr]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { arguments: list(plan.arguments), environment: list(plan.environment) }
    }

    fn child(&self, plan: &Plan<'_>, procs: Option<&File>, report: Option<RawFd>) -> Child {
        let groups = plan.identity.map_or(&[][..], |(_, _, groups)| groups);
        Child {
            program: plan.program.as_ptr(),
            arguments: self.arguments.as_ptr(),
            environment: self.environment.as_ptr(),
            dir: plan.dir.as_ptr(),
            input: plan.input.as_raw_fd(),
            output: plan.output.as_raw_fd(),
            terminal: plan.terminal,
            identity: plan.identity.map(|(user, group, _)| (user, group)),
            groups: groups.as_ptr(),
            group_count: groups.len(),
            procs: procs.map(File::as_raw_fd),
            report,
            error: 0,
        }
    }
}

/// All signals of this thread are blocked while this lives.
struct Signals(SigSet);

impl Signals {
    fn block() -> Self {
        let mut before = SigSet::empty();
        // It fails for a wrong first argument only.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
        Self(before)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // As above.
        let _ = self.0.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::super::cgroup::Parent;
    use super::super::wait::Ending;
    use super::*;
    use crate::ending::Exit;

    /// Runs a script by the last of these ways, the others being refused, and gives its exit and output.
    async fn run(
        script: &str,
        program: &str,
        dir: &str,
        cgroup: Option<&Cgroup>,
        ways: &[Way],
    ) -> io::Result<(Exit, String)> {
        let strings = [program, "-c", script].map(|s| CString::new(s).expect("a string"));
        let dir = CString::new(dir).expect("a string");
        let (mut reader, writer) = io::pipe()?;
        let input = File::open("/dev/null")?;
        let plan = Plan {
            program: &strings[0],
            arguments: &strings.each_ref().map(CString::as_c_str),
            environment: &[c"PATH=/bin:/usr/bin", c"GIVEN=a value"],
            dir: &dir,
            input: input.as_fd(),
            output: writer.as_fd(),
            terminal: false,
            identity: None,
            cgroup,
        };
        let spawned = spawn(&plan, ways)?;
        assert_eq!(Some(&spawned.way), ways.last());
        drop(writer);
        let exit = Ending::of(spawned.pid, spawned.pidfd)?.wait().await?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok((exit, text))
    }

    #[tokio::test]
    async fn each_way_starts_the_same() {
        // Environment, directory, group, signals: none is blocked, and PIPE, which the agent ignores, is not.
        let script = "echo $GIVEN; pwd; [ $(cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo leads; \
             grep SigBlk /proc/self/status; kill -PIPE $$; exit 3";
        let expected = "a value\n/tmp\nleads\nSigBlk:\t0000000000000000\n";
        for way in [Way::Clone, Way::Fork] {
            let (exit, text) = run(script, "/bin/sh", "/tmp", None, &[way]).await.expect("a process");
            assert_eq!((exit, text.as_str()), (Exit::Signal(13), expected), "{way:?}");
            let (exit, _) = run("kill -9 $$", "/bin/sh", "/", None, &[way]).await.expect("a process");
            assert_eq!(exit, Exit::KILLED, "{way:?}");
        }
    }

    #[tokio::test]
    async fn each_way_tells_why_a_program_was_not_executed() {
        for way in [Way::Clone, Way::Fork] {
            let failed = async |program: &str, dir: &str| {
                run("", program, dir, None, &[way]).await.expect_err("no process").kind()
            };
            assert_eq!(failed("/no/such/program", "/").await, io::ErrorKind::NotFound, "{way:?}");
            assert_eq!(failed("/bin/sh", "/no/such/directory").await, io::ErrorKind::NotFound, "{way:?}");
            assert_eq!(failed("/etc/passwd", "/").await, io::ErrorKind::PermissionDenied, "{way:?}");
        }
    }

    #[tokio::test]
    async fn each_way_leads_into_the_cgroup() {
        // Where no cgroups can be made there is nothing to be led into.
        let Some(parent) = Parent::create("test-of-spawn") else { return };
        for way in WAYS {
            let cgroup = parent.child("step").expect("a cgroup");
            let script = "grep ^0:: /proc/$$/cgroup";
            let (exit, text) = run(script, "/bin/sh", "/", Some(&cgroup), &[way]).await.expect("a process");
            assert_eq!(exit, Exit::Code(0));
            assert!(text.ends_with("/test-of-spawn/step\n"), "{way:?}: {text}");
            cgroup.remove();
        }
    }

    #[tokio::test]
    async fn a_way_that_is_refused_gives_place_to_the_next() {
        let Some(parent) = Parent::create("test-of-refusal") else { return };
        let cgroup = parent.child("step").expect("a cgroup");
        // It is gone, so nothing can be started in it.
        cgroup.remove();
        let refused = run("true", "/bin/sh", "/", Some(&cgroup), &[Way::IntoCgroup]).await;
        assert!(refused.is_err());
        assert_eq!(
            run("true", "/bin/sh", "/", Some(&cgroup), &[Way::Clone]).await.expect("a process").0,
            Exit::Code(0)
        );
    }

    /// Makes the kernel refuse `clone3` to this thread, as filters of container engines do.
    fn refuse_clone3(error: c_int) {
        let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
        let filter = [
            // The number of the system call, which stands first.
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_clone3 as u32, 0, 1),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: the program and its steps live, and the kernel only reads them. It holds for this thread alone.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        }
    }

    #[test]
    fn where_a_filter_refuses_clone3_a_step_is_started_by_fork_and_is_in_its_cgroup() {
        for (error, name) in [(libc::ENOSYS, "test-of-nosys"), (libc::EPERM, "test-of-perm")] {
            let test = std::thread::spawn(move || {
                refuse_clone3(error);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    for way in [Way::IntoCgroup, Way::Clone] {
                        let Some(parent) = Parent::create(name) else { return };
                        let cgroup = parent.child("step").expect("a cgroup");
                        let refused = run("true", "/bin/sh", "/", Some(&cgroup), &[way]).await;
                        assert_eq!(refused.expect_err("a refusal").raw_os_error(), Some(error));
                        let script = "grep ^0:: /proc/$$/cgroup";
                        let started = run(script, "/bin/sh", "/", Some(&cgroup), &[way, Way::Fork]).await;
                        let (exit, text) = started.expect("a process");
                        assert_eq!(exit, Exit::Code(0));
                        assert!(text.ends_with(&format!("/{name}/step\n")), "{text}");
                    }
                    let (exit, _) = run("exit 4", "/bin/sh", "/", None, &WAYS).await.expect("a process");
                    assert_eq!(exit, Exit::Code(4));
                });
            });
            test.join().expect("no panic");
        }
    }

    #[tokio::test]
    async fn an_end_is_noticed_without_a_descriptor_of_the_process() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let plan = Plan {
            program: c"/bin/cat",
            arguments: &[c"cat"],
            environment: &[],
            dir: c"/",
            input: reader.as_fd(),
            output: writer.as_fd(),
            terminal: false,
            identity: None,
            cgroup: None,
        };
        let spawned = spawn(&plan, &WAYS).expect("a process");
        let mut ending = Ending::of(spawned.pid, None).expect("a process");
        nix::sys::signal::kill(Pid::from_raw(spawned.pid), nix::sys::signal::SIGKILL).expect("a signal");
        assert_eq!(ending.wait().await.expect("an end"), Exit::KILLED);
    }
}
