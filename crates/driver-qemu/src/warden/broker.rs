//! Carries out, or refuses, the calls that QEMU's filter hands over.
//!
//! ```text
//! connect            by policy: a socket of the host's network, connected, takes the place of QEMU's
//! sendto ADDRESS     by policy, each datagram: likewise, once; then the warden sends it
//! bind, listen       on the VM's own sockets only
//! sendmsg            on Unix sockets only, without an address: the monitor's answers
//! ```
//! Nothing that a call names is looked at twice: what its arguments point to is read once, and what it does is done on the very
//! descriptor that was looked at. So QEMU, if a guest has taken it over, gains nothing by changing either meanwhile.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, bind, connect, sendto};

use crate::warden::denials::Denials;
use crate::warden::orders::TOLD;
use crate::warden::policy::{Policy, Verdict, canonical};
use crate::warden::resolvers::Resolvers;
use crate::warden::unix::notify::{Call, Calls, Target};
use crate::warden::unix::socket::{Kind, is_own, network, option, parse_address, set_flags, set_option};

/// The longest datagram, and the longest message on a Unix socket at once.
const LONGEST_BYTES: usize = 64 * 1024;
/// The longest address of any family (`sockaddr_storage`).
const LONGEST_ADDRESS_BYTES: u64 = 128;
/// The most parts of a message.
const MOST_PARTS: u64 = 64;
/// QEMU listens for one connection at a time, and the kernel lets a second one wait for a second.
const LEAST_BACKLOG: c_int = 128;
/// What is carried over from QEMU's socket to the one that takes its place.
const CARRIED: [(c_int, c_int); 4] = [
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_TOS),
];

/// What a call comes to.
type Outcome = Result<i64, Errno>;

/// The one who decides.
pub(super) struct Broker {
    calls: Calls,
    target: Target,
    /// The id of the host's network.
    host: u64,
    policy: Policy,
    resolvers: Resolvers,
    denials: Denials,
    buffer: Vec<u8>,
}

impl Broker {
    /// Takes over the calls of a process. This thread must be in the host's network.
    pub(super) fn new(calls: Calls, target: Target, policy: Policy) -> Result<Self, Errno> {
        let any = Kind { domain: libc::AF_INET, style: libc::SOCK_DGRAM, protocol: 0 }.make()?;
        let host = network(&any)?;
        let (resolvers, denials) = (Resolvers::default(), Denials::default());
        Ok(Self { calls, target, host, policy, resolvers, denials, buffer: Vec::new() })
    }

    /// Answers until the process has ended.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut ready = [
                PollFd::new(self.calls.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.target.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                polled => polled?,
            };
            let [calls, ended] = ready.map(|one| one.revents().unwrap_or(PollFlags::empty()));
            if !ended.is_empty() {
                return Ok(());
            }
            if calls.contains(PollFlags::POLLIN)
                && let Some(call) = self.calls.next()?
            {
                let outcome = self.carry_out(&call);
                self.calls.answer(&call, outcome)?;
            } else if calls.contains(PollFlags::POLLHUP) {
                return Ok(());
            }
        }
    }

    fn carry_out(&mut self, call: &Call) -> Outcome {
        // The kernel takes the lower half of the register for a descriptor.
        let number = call.args[0] as u32 as i32;
        let socket = self.target.take(number)?;
        let kind = Kind::of(&socket)?;
        match call.number {
            libc::SYS_connect => self.connect(call, number, &socket, kind),
            libc::SYS_sendto => self.send(call, number, &socket, kind),
            libc::SYS_sendmsg => self.send_message(call, &socket, kind),
            libc::SYS_bind => {
                let address = self.address(call, call.args[1], call.args[2])?;
                self.must_be_the_vms(&socket, kind)?;
                bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map(|()| 0)
            }
            libc::SYS_listen => {
                self.must_be_the_vms(&socket, kind)?;
                listen(&socket, call.args[1] as c_int)
            }
            _ => Err(Errno::ENOSYS),
        }
    }

    /// A Unix socket may be in any network: what it leads to lies in the file system, or was given.
    fn must_be_the_vms(&self, socket: &OwnedFd, kind: Kind) -> Result<(), Errno> {
        match kind.is_ip() && network(socket)? == self.host {
            true => Err(Errno::EACCES),
            false => Ok(()),
        }
    }

    /// Reads an address of the internet out of the arguments.
    fn address(&self, call: &Call, at: u64, length: u64) -> Result<SocketAddr, Errno> {
        // The kernel takes the lower half of the register for the length.
        let length = length & u64::from(u32::MAX);
        if length > LONGEST_ADDRESS_BYTES {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; length as usize];
        self.target.read(at, &mut bytes)?;
        if !self.calls.waits(call) {
            return Err(Errno::EINTR);
        }
        // QEMU has nothing to do with other families, and those whose sockets lie in files could lead out.
        parse_address(&bytes).ok_or(Errno::EACCES)
    }

    fn connect(&mut self, call: &Call, number: i32, socket: &OwnedFd, kind: Kind) -> Outcome {
        if !kind.is_a_guests() {
            return Err(Errno::EACCES);
        }
        let to = self.address(call, call.args[1], call.args[2])?;
        self.must_be_open(to).map_err(|closed| closed.unwrap_or(Errno::ECONNREFUSED))?;
        let to = SockaddrStorage::from(to);
        if network(socket)? == self.host {
            return connect(socket.as_raw_fd(), &to).map(|()| 0);
        }
        let ours = like(socket, kind)?;
        let outcome = connect(ours.as_raw_fd(), &to);
        if matches!(outcome, Ok(()) | Err(Errno::EINPROGRESS)) {
            self.replace(call, number, socket, &ours)?;
        }
        outcome.map(|()| 0)
    }

    fn send(&mut self, call: &Call, number: i32, socket: &OwnedFd, kind: Kind) -> Outcome {
        if !kind.is_a_guests() || !kind.is_datagram() {
            return Err(Errno::EACCES);
        }
        let [_, data, length, flags, address, address_length] = call.args;
        let to = self.address(call, address, address_length)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST_BYTES).ok_or(Errno::EMSGSIZE)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length, 0);
        let sent = self.target.read(data, &mut buffer).and_then(|()| {
            self.must_be_open(to).map_err(|closed| closed.unwrap_or(Errno::EACCES))?;
            let ours = match network(socket)? == self.host {
                true => None,
                false => {
                    let ours = like(socket, kind)?;
                    self.replace(call, number, socket, &ours)?;
                    Some(ours)
                }
            };
            let from = ours.as_ref().unwrap_or(socket).as_raw_fd();
            let flags = MsgFlags::from_bits_truncate(flags as c_int) & MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            sendto(from, &buffer, &SockaddrStorage::from(to), flags)
        });
        self.buffer = buffer;
        sent.map(|sent| sent as i64)
    }

    /// The one message that goes anywhere is one without an address on a socket that was given or is in a file.
    fn send_message(&mut self, call: &Call, socket: &OwnedFd, kind: Kind) -> Outcome {
        const WORDS: usize = size_of::<libc::msghdr>() / 8;
        if kind.domain != libc::AF_UNIX {
            return Err(Errno::EACCES);
        }
        let words = |bytes: &[u8]| -> Vec<u64> {
            bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default())).collect()
        };
        let mut header = [0; WORDS * 8];
        self.target.read(call.args[1], &mut header)?;
        // Name, its length; parts, how many; what goes with it, its length; flags.
        let header = words(&header);
        let [name, _, parts, count, _, beside, ..] = header[..] else { return Err(Errno::EINVAL) };
        if name != 0 || beside != 0 || count > MOST_PARTS {
            return Err(Errno::EACCES);
        }
        let mut table = vec![0; count as usize * 16];
        self.target.read(parts, &mut table)?;
        let mut message = Vec::new();
        for part in words(&table).chunks_exact(2) {
            let begin = message.len();
            let length = usize::try_from(part[1]).map_err(|_| Errno::EINVAL)?.min(LONGEST_BYTES - begin);
            message.resize(begin + length, 0);
            self.target.read(part[0], &mut message[begin..])?;
        }
        if !self.calls.waits(call) {
            return Err(Errno::EINTR);
        }
        let flags = MsgFlags::from_bits_truncate(call.args[2] as c_int) & MsgFlags::MSG_NOSIGNAL;
        let sent = nix::sys::socket::send(socket.as_raw_fd(), &message, flags | MsgFlags::MSG_DONTWAIT);
        sent.map(|sent| sent as i64)
    }

    /// Puts a socket of the host's network in the place of one of the VM's.
    fn replace(&self, call: &Call, number: i32, theirs: &OwnedFd, ours: &OwnedFd) -> Result<(), Errno> {
        set_flags(ours, theirs).map_err(|_| Errno::EBADF)?;
        self.calls.put(call, ours.as_fd(), number)
    }

    /// The error is what the kernel says of a destination that it knows no way to; none if the policy closes it.
    fn must_be_open(&mut self, to: SocketAddr) -> Result<(), Option<Errno>> {
        let verdict = match self.policy.judge(to, self.resolvers.now()) {
            Verdict::OpenUnlessHost => match is_own(canonical(to.ip())) {
                Ok(false) => Verdict::Open,
                Ok(true) => Verdict::Closed,
                Err(error) => return Err(error.raw_os_error().map(Errno::from_raw)),
            },
            verdict @ (Verdict::Open | Verdict::Closed) => verdict,
        };
        if verdict == Verdict::Open {
            return Ok(());
        }
        if let Some(told) = self.denials.of(SocketAddr::new(canonical(to.ip()), to.port())) {
            eprintln!("{TOLD}{told}");
        }
        Err(None)
    }
}

/// Makes a socket of this thread's network that is like QEMU's.
fn like(theirs: &OwnedFd, kind: Kind) -> Result<OwnedFd, Errno> {
    let ours = kind.make()?;
    let nodelay = (kind.style == libc::SOCK_STREAM).then_some((libc::IPPROTO_TCP, libc::TCP_NODELAY));
    for (level, name) in CARRIED.into_iter().chain(nodelay) {
        // What one of them does not know, the other does not need.
        if let Ok(value) = option(theirs, level, name) {
            let _ = set_option(&ours, level, name, value);
        }
    }
    if kind.domain == libc::AF_INET6
        && let Ok(only) = option(theirs, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)
    {
        let _ = set_option(&ours, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only);
    }
    Ok(ours)
}

fn listen(socket: &OwnedFd, backlog: c_int) -> Outcome {
    let backlog = nix::sys::socket::Backlog::new(backlog.clamp(LEAST_BACKLOG, 4096)).map_err(|_| Errno::EINVAL)?;
    nix::sys::socket::listen(socket, backlog).map(|()| 0)
}
