//! What tests start in QEMU's place: it connects and sends as QEMU's user-mode network does, and tells what comes of it.
//!
//! Usage: `reach_out WORD...`. Each word is carried out in turn, and answered with a line, `WORD RESULT`:
//!
//! ```text
//! tcp:ADDRESS    connects without waiting, then waits for a line      `answered`, or the error
//! udp:ADDRESS    sends a datagram from the one socket of its family   `answered`, `silent`, or the error
//! raw:NAME       tries what QEMU has no use for                       the error, or `done`
//! echo:PORT      listens, and sends back what comes, on a thread      `listening`
//! mute:PORT      listens, and takes no notice of what comes             `listening`
//! lines          waits until standard input ends                      `ended`
//! status         what the kernel says of this process                 user, rights, descriptors
//! ```

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, socket};

/// No answer takes longer.
const PATIENCE_MS: u16 = 20_000;

fn main() {
    let mut sockets = [None, None];
    for word in std::env::args().skip(1) {
        let (kind, rest) = word.split_once(':').unwrap_or((&word, ""));
        let address = || rest.parse::<SocketAddr>().map_err(io::Error::other);
        let result = match kind {
            "tcp" => address().and_then(tcp),
            "udp" => address().and_then(|to| udp(to, &mut sockets[usize::from(to.is_ipv6())])),
            "raw" => raw(rest),
            "echo" => echo(rest),
            "mute" => mute(rest),
            "lines" => io::stdin().read_to_end(&mut Vec::new()).map(|_| "ended".to_owned()),
            "status" => Ok(status()),
            _ => Err(io::Error::other("no such word")),
        };
        let said = result.unwrap_or_else(|error| {
            error.raw_os_error().map_or(error.to_string(), |errno| Errno::from_raw(errno).to_string())
        });
        println!("{word} {said}");
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// As `tcp_fconnect` of libslirp does.
fn tcp(to: SocketAddr) -> io::Result<String> {
    let made = socket(family(to), SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    let number = made.as_raw_fd();
    match connect(number, &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    if poll(&mut [PollFd::new(made.as_fd(), PollFlags::POLLOUT)], PATIENCE_MS)? == 0 {
        return Ok("silent".to_owned());
    }
    let stream = TcpStream::from(made);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// As `sosendto` of libslirp does: one socket for all destinations.
fn udp(to: SocketAddr, socket: &mut Option<UdpSocket>) -> io::Result<String> {
    let socket = match socket {
        Some(socket) => socket,
        None => {
            let kind = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let made: OwnedFd = nix::sys::socket::socket(kind, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            // The same number means another socket after the first datagram.
            // It is made by the kernel, and owned by the value that holds the number.
            socket.insert(UdpSocket::from(made))
        }
    };
    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    socket.send_to(b"ask", to)?;
    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    let mut answer = [0; 64];
    match socket.recv_from(&mut answer) {
        Ok((read, from)) if from == to => Ok(String::from_utf8_lossy(&answer[..read]).into_owned()),
        Ok((_, from)) => Ok(format!("answered by {from}")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok("silent".to_owned()),
        Err(error) => Err(error),
    }
}

fn raw(what: &str) -> io::Result<String> {
    let done = |()| "done".to_owned();
    match what {
        "unix" => {
            let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
            Ok(connect(made.as_raw_fd(), &UnixAddr::new("/run/x")?).map(done)?)
        }
        "vsock" => {
            Ok(socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None).map(|_| "done".to_owned())?)
        }
        "netlink" => {
            Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), None).map(|_| "done".to_owned())?)
        }
        "sendmsg" => {
            let made = UdpSocket::bind("127.0.0.1:0")?;
            let to = SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], 53)));
            let parts = [io::IoSlice::new(b"ask")];
            let flags = nix::sys::socket::MsgFlags::empty();
            Ok(nix::sys::socket::sendmsg(made.as_raw_fd(), &parts, &[], flags, Some(&to)).map(|_| "done".to_owned())?)
        }
        _ => Err(io::Error::other("no such thing")),
    }
}

fn echo(port: &str) -> io::Result<String> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let copied = stream.set_nodelay(true).and_then(|()| io::copy(&mut &stream, &mut &stream));
                let _ = copied.and_then(|_| stream.shutdown(Shutdown::Write));
            });
        }
    });
    Ok("listening".to_owned())
}

fn mute(port: &str) -> io::Result<String> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    // It listens as long as this process lives.
    std::mem::forget(listener);
    Ok("listening".to_owned())
}

fn status() -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        found.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let environment = std::env::vars_os().count();
    format!(
        "uid={} effective={} no_new_privs={} seccomp={} environment={environment}",
        line("Uid:"),
        line("CapEff:"),
        line("NoNewPrivs:"),
        line("Seccomp:")
    )
}
