//! Carries bytes between the socket on which the agent is asked for and the VM's loopback, where QEMU forwards them into the guest.
//!
//! One thread serves all connections, and waits for nobody: what one end does not take stays in a bounded buffer, and the other end
//! is read no more until it is gone. An end that has said all is told on to the other, which may go on.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockaddrStorage, connect};

use crate::warden::unix::socket::Kind;

/// What is carried at once, for each connection and direction.
const BUFFER_BYTES: usize = 256 * 1024;
/// No more connections are served at a time; further ones wait. Each takes two descriptors, of which a process has 1024 as a rule.
const MOST: usize = 256;
/// How long is waited where the host has no more descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// The connections of one VM.
pub(super) struct Relay {
    listener: UnixListener,
    port: u16,
    pairs: Vec<Pair>,
}

/// One connection: whoever asks, and the agent.
struct Pair {
    asks: UnixStream,
    answers: TcpStream,
    to_agent: Flow,
    from_agent: Flow,
    is_broken: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Empty while nothing waits.
    held: Vec<u8>,
    taken: usize,
    /// Its source has said all.
    is_read: bool,
    /// Its sink knows that.
    is_done: bool,
}

impl Relay {
    /// This thread must be in the VM's network.
    pub(super) fn new(listener: UnixListener, port: u16) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, port, pairs: Vec::new() })
    }

    /// Serves as long as the process lives.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.turn(&mut buffer)?;
        }
    }

    /// Waits for something to do, and does all that can be done now.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let takes_more = self.pairs.len() < MOST;
        let mut waits = Vec::with_capacity(1 + 2 * self.pairs.len());
        waits.extend(takes_more.then(|| (None, PollFd::new(self.listener.as_fd(), PollFlags::POLLIN))));
        for (at, pair) in self.pairs.iter().enumerate() {
            waits.extend(pair.waits().map(|wait| (Some(at), wait)));
        }
        let (whose, mut waits): (Vec<Option<usize>>, Vec<PollFd<'_>>) = waits.into_iter().unzip();
        match poll(&mut waits, PollTimeout::NONE) {
            Err(Errno::EINTR) => return Ok(()),
            polled => polled?,
        };
        let is_ready = |wait: &PollFd<'_>| wait.any().unwrap_or(true);
        let mut ready: Vec<Option<usize>> =
            whose.into_iter().zip(&waits).filter(|(_, wait)| is_ready(wait)).map(|(whose, _)| whose).collect();
        drop(waits);
        ready.dedup();
        for at in ready.iter().flatten() {
            self.pairs[*at].carry(buffer);
        }
        self.pairs.retain(|pair| !pair.is_over());
        if ready.contains(&None) {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while self.pairs.len() < MOST {
            let asks = match self.listener.accept() {
                Ok((asks, _)) => asks,
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) if is_shortage(&error) => {
                    std::thread::sleep(SHORTAGE_PAUSE);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            // Whoever asks while QEMU does not listen yet sees the connection end.
            if let Ok(pair) = Pair::open(asks, self.port) {
                self.pairs.push(pair);
            }
        }
        Ok(())
    }
}

fn wants(reads: bool, writes: bool) -> PollFlags {
    let flag = |is_wanted, flag| if is_wanted { flag } else { PollFlags::empty() };
    flag(reads, PollFlags::POLLIN) | flag(writes, PollFlags::POLLOUT)
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

impl Pair {
    fn open(asks: UnixStream, port: u16) -> io::Result<Self> {
        asks.set_nonblocking(true)?;
        let tcp = Kind { domain: libc::AF_INET, style: libc::SOCK_STREAM, protocol: libc::IPPROTO_TCP }.make()?;
        let agent = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match connect(tcp.as_raw_fd(), &SockaddrStorage::from(agent)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let answers = TcpStream::from(tcp);
        answers.set_nodelay(true)?;
        Ok(Self { asks, answers, to_agent: Flow::default(), from_agent: Flow::default(), is_broken: false })
    }

    fn carry(&mut self, buffer: &mut [u8]) {
        let Self { asks, answers, to_agent, from_agent, .. } = self;
        let carried = to_agent
            .carry(&mut *asks, &mut *answers, buffer, |sink| sink.shutdown(Shutdown::Write))
            .and_then(|()| from_agent.carry(answers, asks, buffer, |sink| sink.shutdown(Shutdown::Write)));
        self.is_broken |= carried.is_err() || self.to_agent.is_done && hung_up(self.asks.as_fd());
    }

    /// What it waits for. A socket that nothing is wanted of is not looked at: that it has hung up would be told again and again.
    fn waits(&self) -> impl Iterator<Item = PollFd<'_>> {
        let asks = wants(self.to_agent.reads(), self.from_agent.writes());
        let answers = wants(self.from_agent.reads(), self.to_agent.writes());
        // Whoever has said all may hang up before it has heard the answer, which ends the pair.
        let asks = (!asks.is_empty() || self.to_agent.is_done).then(|| PollFd::new(self.asks.as_fd(), asks));
        let answers = (!answers.is_empty()).then(|| PollFd::new(self.answers.as_fd(), answers));
        asks.into_iter().chain(answers)
    }

    fn is_over(&self) -> bool {
        self.is_broken || self.to_agent.is_done && self.from_agent.is_done
    }
}

/// Whether nobody will ever read what is written there.
fn hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut look = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut look, PollTimeout::ZERO).is_ok()
        && look[0].revents().is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

impl Flow {
    fn reads(&self) -> bool {
        self.held.is_empty() && !self.is_read
    }

    fn writes(&self) -> bool {
        !self.held.is_empty()
    }

    /// Carries what there is from the source to the sink, as long as neither has to be waited for.
    fn carry<S: Write>(
        &mut self,
        source: &mut impl Read,
        sink: &mut S,
        buffer: &mut [u8],
        end: impl Fn(&S) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.empty_into(sink)? {
            return Ok(());
        }
        if !self.is_read {
            match source.read(buffer) {
                Ok(0) => self.is_read = true,
                Ok(read) => {
                    let written = write_some(sink, &buffer[..read])?;
                    if written < read {
                        self.held = buffer[written..read].to_vec();
                    }
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_read && self.held.is_empty() && !self.is_done {
            self.is_done = true;
            end(sink)?;
        }
        Ok(())
    }

    /// False when something is left.
    fn empty_into(&mut self, sink: &mut impl Write) -> io::Result<bool> {
        if !self.held.is_empty() {
            self.taken += write_some(sink, &self.held[self.taken..])?;
            if self.taken < self.held.len() {
                return Ok(false);
            }
            self.taken = 0;
            // A connection at rest takes no memory.
            self.held = Vec::new();
        }
        Ok(true)
    }
}

fn write_some(sink: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    match sink.write(bytes) {
        // A connection that is being made says so in this way.
        Err(error) if is_passing(&error) || error.kind() == io::ErrorKind::NotConnected => Ok(0),
        written => written,
    }
}
