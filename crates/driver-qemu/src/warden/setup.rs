//! How a process becomes a warden and a QEMU.
//!
//! ```text
//! orders ─► the VM's user ─► own users ─┬─► closes all that is not its own ─► serves       the warden, in the host's network
//!                                       └─► own network ─► filter ─► QEMU                  its parent
//! ```

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use crate::host::program::{self, Needs};
use crate::warden::broker::Broker;
use crate::warden::orders::{Orders, TOLD, Trouble};
use crate::warden::policy::Policy;
use crate::warden::relay::Relay;
use crate::warden::unix::{self, ExitStatus, filter, notify};

/// What the kernel calls a warden.
const NAME: &std::ffi::CStr = c"kiln-warden";
/// A failure of the warden itself.
const FAILED: u8 = 125;

/// Runs a warden, whose orders come over the descriptor that the one argument numbers. Kiln starts it so; nobody else has a use for it.
///
/// The process must have one thread. It becomes QEMU, so this returns only when that fails.
#[must_use]
pub fn warden(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let number = args.next().and_then(|word| word.to_str()?.parse().ok());
    let kiln = number.map(unix::given).and_then(Result::ok).map(UnixStream::from);
    let Some(kiln) = kiln else {
        eprintln!("this is started by Kiln alone, for each of its VMs");
        return FAILED.into();
    };
    let Err(trouble) = begin(&kiln);
    eprintln!("{TOLD}{}", trouble.text);
    trouble.tell(&kiln);
    FAILED.into()
}

fn begin(kiln: &UnixStream) -> Result<Infallible, Trouble> {
    unix::inherit(kiln, false).map_err(failed("keep its orders to itself"))?;
    let orders = Orders::hear(kiln).map_err(failed("hear its orders"))?;
    if let Some(ids) = orders.ids {
        unix::become_user(ids).map_err(failed("become the VM's user"))?;
    }
    unix::own_users().map_err(|error| no_users(&error))?;
    let pipe = "make a pipe between QEMU and its warden";
    let (alive, life) = io::pipe().map_err(failed(pipe))?;
    let (to_warden, from_qemu) = UnixStream::pair().map_err(failed(pipe))?;
    let (alive, life) = (OwnedFd::from(alive), OwnedFd::from(life));
    let own = getpid();
    unix::divide(|| {
        let mut kept = vec![2, kiln.as_raw_fd(), from_qemu.as_raw_fd(), life.as_raw_fd()];
        kept.extend(orders.agent.iter().chain(&orders.sign_of_life));
        let served = unix::close_all_but(&mut kept)
            .map_err(failed("close what is QEMU's"))
            .and_then(|()| serve(own, &from_qemu, kiln, &orders));
        if let Err(trouble) = &served {
            eprintln!("{TOLD}{}", trouble.text);
            trouble.tell(kiln);
        }
        ExitStatus(i32::from(served.is_err()))
    })
    .map_err(failed("start the warden"))?;
    drop((life, from_qemu));
    become_qemu(&orders, &to_warden, &alive)
}

/// The half that becomes QEMU.
fn become_qemu(orders: &Orders, to_warden: &UnixStream, alive: &OwnedFd) -> Result<Infallible, Trouble> {
    let network = unix::own_network().map_err(|error| lacking("make a network for a VM", &error))?;
    unix::die_when_closed(alive).map_err(failed("tie QEMU to its warden"))?;
    // What ties the two is theirs, and nothing of it is the program's.
    unix::inherit(to_warden, false).map_err(failed("keep the warden's own"))?;
    if let Some(agent) = orders.agent {
        let agent = unix::given(agent).map_err(failed("find the agent's socket"))?;
        drop(agent);
    }
    let (program, args) = orders.words.split_first().ok_or(Errno::EINVAL).map_err(|e| failed("find QEMU")(e.into()))?;
    let mut command = program::command(program, Needs::Nothing);
    command.args(args);
    unix::root_is_nobody();
    if let Some(owner) = orders.owner
        && !unix::die_with(Pid::from_raw(owner)).map_err(failed("tie QEMU to Kiln"))?
    {
        return Err(Trouble { text: "Kiln is gone".to_owned(), lacking: false });
    }
    unix::gain_nothing().map_err(failed("give up further rights"))?;
    let calls = filter::install().map_err(|error| no_filter(&error))?;
    // Under the filter nothing can be sent along with a message: the warden takes what it is told the numbers of.
    hand_over(to_warden, [&calls, &network]).map_err(failed("hand QEMU's calls over to its warden"))?;
    drop((calls, network));
    Err(failed("start QEMU")(command.exec()))
}

/// The half that is the warden.
fn serve(qemu: Pid, from_qemu: &UnixStream, kiln: &UnixStream, orders: &Orders) -> Result<(), Trouble> {
    unix::call_itself(NAME);
    unix::gain_nothing().and_then(|()| unix::hide()).map_err(failed("keep its memory to itself"))?;
    if !unix::die_with(qemu).map_err(failed("end with QEMU"))? {
        return Ok(());
    }
    let target = notify::Target::open(qemu).map_err(failed("find QEMU"))?;
    let Some(numbers) = heard(from_qemu) else {
        // QEMU's half has told why.
        return Ok(());
    };
    let take = |number| target.take(number).map_err(|error| lacking("take over a VM's descriptors", &error.into()));
    let [calls, network] = [take(numbers[0])?, take(numbers[1])?];
    let policy = Policy::new(orders.network.clone());
    let calls = notify::Calls::new(calls);
    let mut broker =
        Broker::new(calls, target, policy).map_err(|error| lacking("tell networks apart", &error.into()))?;
    // From here on QEMU is QEMU: what this host lacks is found out before.
    (&*from_qemu).write_all(&[0]).map_err(failed("let QEMU go on"))?;
    if let Some(agent) = orders.agent {
        let listener = UnixListener::from(unix::given(agent).map_err(failed("find the agent's socket"))?);
        let mut relay = Relay::new(listener, orders.agent_port).map_err(failed("listen for the agent"))?;
        let teller = kiln.try_clone().map_err(failed("keep the way to Kiln"))?;
        let body = move || {
            let served = unix::enter_network(network).and_then(|()| relay.serve());
            // Nobody would reach the agent any more, so the VM ends.
            if let Err(error) = served {
                let trouble = failed("carry bytes to the agent")(error);
                eprintln!("{TOLD}{}", trouble.text);
                trouble.tell(&teller);
                std::process::exit(FAILED.into());
            }
        };
        std::thread::Builder::new().name("relay".to_owned()).spawn(body).map_err(failed("start a thread"))?;
    }
    broker.serve().map_err(failed("hear QEMU's calls"))
}

fn hand_over(mut to: &UnixStream, descriptors: [&OwnedFd; 2]) -> io::Result<()> {
    let numbers = descriptors.map(|descriptor| descriptor.as_raw_fd().to_ne_bytes());
    to.write_all(&numbers.concat())?;
    to.read_exact(&mut [0])
}

fn heard(mut from: &UnixStream) -> Option<[RawFd; 2]> {
    let mut numbers = [[0; 4]; 2];
    from.read_exact(numbers.as_flattened_mut()).ok()?;
    Some(numbers.map(RawFd::from_ne_bytes))
}

fn no_filter(error: &io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::ResourceBusy {
        let text = "the manager of this container hears of its system calls (seccomp user notification), of which Linux \
                    lets one do so: turn that off, as `security.syscalls.intercept` of LXD, or run Kiln outside of it";
        return Trouble { text: text.to_owned(), lacking: true };
    }
    lacking("hand a VM's system calls over to its warden", error)
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble { text: format!("a VM's warden cannot {what}: {error}"), lacking: false }
}

fn lacking(what: &str, error: &io::Error) -> Trouble {
    let text = format!(
        "this host cannot {what} ({error}): Linux 5.14 or newer is needed, with network namespaces and seccomp"
    );
    Trouble { text, lacking: true }
}

/// What keeps users from namespaces of their own, and what lets them.
fn no_users(error: &io::Error) -> Trouble {
    let is = |name: &str, value: &str| {
        std::fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() == value)
    };
    let mend = if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows it"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "`sudo sysctl kernel.unprivileged_userns_clone=1` allows it"
    } else if is("user/max_user_namespaces", "0") {
        "`sudo sysctl user.max_user_namespaces=15000` allows it"
    } else {
        "a container must be given `--security-opt seccomp=unconfined`, or CAP_SYS_ADMIN"
    };
    let text = format!("this host lets this user make no namespaces, which isolate VMs ({error}): {mend}");
    Trouble { text, lacking: true }
}
