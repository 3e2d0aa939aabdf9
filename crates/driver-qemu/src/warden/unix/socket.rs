//! Sockets, asked for and made by the kernel's numbers, because they copy what QEMU has made.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// The id of the network that a socket belongs to (Linux 5.14).
const SO_NETNS_COOKIE: c_int = 71;

/// What a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::warden) struct Kind {
    /// Such as `AF_INET`.
    pub(in crate::warden) domain: c_int,
    /// Such as `SOCK_STREAM`.
    pub(in crate::warden) style: c_int,
    /// Such as `IPPROTO_TCP`.
    pub(in crate::warden) protocol: c_int,
}

impl Kind {
    /// That of a socket.
    pub(in crate::warden) fn of(socket: impl AsFd) -> Result<Self, Errno> {
        let ask = |name| option(&socket, libc::SOL_SOCKET, name);
        let (domain, style, protocol) = (ask(libc::SO_DOMAIN)?, ask(libc::SO_TYPE)?, ask(libc::SO_PROTOCOL)?);
        Ok(Self { domain, style, protocol })
    }

    /// Whether it speaks IP.
    pub(in crate::warden) fn is_ip(&self) -> bool {
        matches!(self.domain, libc::AF_INET | libc::AF_INET6)
    }

    /// Whether it is one that a guest's connections, datagrams and pings become.
    pub(in crate::warden) fn is_a_guests(&self) -> bool {
        let is_known = match self.style {
            libc::SOCK_STREAM => self.protocol == libc::IPPROTO_TCP,
            libc::SOCK_DGRAM => {
                matches!(self.protocol, libc::IPPROTO_UDP | libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
            }
            _ => false,
        };
        self.is_ip() && is_known
    }

    /// Whether it sends datagrams to whomever it likes.
    pub(in crate::warden) fn is_datagram(&self) -> bool {
        self.style == libc::SOCK_DGRAM
    }

    /// Makes such a socket, which does not block, in the network of this thread.
    pub(in crate::warden) fn make(&self) -> Result<OwnedFd, Errno> {
        let style = self.style | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes three integers and touches no memory.
        let made = Errno::result(unsafe { libc::socket(self.domain, style, self.protocol) })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    }
}

/// Asks for an option that is a number.
pub(in crate::warden) fn option(socket: impl AsFd, level: c_int, name: c_int) -> Result<c_int, Errno> {
    get(socket, level, name)
}

/// Sets an option that is a number.
pub(in crate::warden) fn set_option(socket: impl AsFd, level: c_int, name: c_int, value: c_int) -> Result<(), Errno> {
    let length = size_of::<c_int>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the value lives until the call returns, and the length is its own.
    let set = unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), length) };
    Errno::result(set).map(drop)
}

/// The id of the network that a socket belongs to.
///
/// # Errors
/// When the kernel is older than 5.14.
pub(in crate::warden) fn network(socket: impl AsFd) -> Result<u64, Errno> {
    get(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

/// `T` is an integer.
fn get<T: Default + Copy>(socket: impl AsFd, level: c_int, name: c_int) -> Result<T, Errno> {
    let (mut value, mut length) = (T::default(), size_of::<T>() as libc::socklen_t);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the value is an integer of that length, which the kernel fills, and lives until the call returns.
    let asked = unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &raw mut length) };
    Errno::result(asked)?;
    if length as usize == size_of::<T>() { Ok(value) } else { Err(Errno::EPROTO) }
}

/// Sets whether calls on a socket wait; whoever has it open, it holds for all.
pub(in crate::warden) fn set_flags(socket: impl AsFd, like: impl AsFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(like, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags & OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Reads an address of the internet as a process holds it in memory; none of another family.
pub(in crate::warden) fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    match c_int::from(family) {
        libc::AF_INET => {
            // The kernel wants the whole structure, with its padding.
            bytes.get(..size_of::<libc::sockaddr_in>())?;
            Some(SocketAddrV4::new(Ipv4Addr::from(word(4)?), port).into())
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = word(24).map_or(0, u32::from_ne_bytes);
            Some(SocketAddrV6::new(Ipv6Addr::from(address), port, u32::from_ne_bytes(word(4)?), scope).into())
        }
        _ => None,
    }
}

/// Whether an address is one of this host's own: the kernel takes it for its own end of a connection to it. It does not where a route
/// of type `local` names another source, as that of the network of the loopback does, which the policy closes by itself.
pub(in crate::warden) fn is_own(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    // Any port but 0 does; a datagram socket that connects sends nothing.
    socket.connect((address, 9))?;
    Ok(socket.local_addr()?.ip() == address)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_lays_them_out() {
        for text in ["198.51.100.7:443", "[2001:db8::7]:53", "[fe80::1%3]:80"] {
            let address: SocketAddr = text.parse().expect("an address");
            let stored = SockaddrStorage::from(address);
            // SAFETY: the storage is that long.
            let bytes = unsafe { std::slice::from_raw_parts(stored.as_ptr().cast::<u8>(), stored.len() as usize) };
            assert_eq!(parse_address(bytes), Some(address));
            assert_eq!(parse_address(&bytes[..9]), None, "{text}");
        }
        assert_eq!(parse_address(b"\x01\x00/run/x"), None, "a Unix socket");
        assert_eq!(parse_address(b""), None);
    }

    #[test]
    fn an_own_address_is_told_from_others() {
        assert!(is_own("127.0.0.1".parse().expect("an address")).expect("a look"));
        // Without a route out there is nothing to reach either.
        assert!(!is_own("198.51.100.7".parse().expect("an address")).unwrap_or(false));
    }

    #[test]
    fn a_socket_tells_what_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let kind = Kind::of(&listener).expect("a kind");
        assert!(kind.is_ip() && !kind.is_datagram());
        let like = kind.make().expect("a socket");
        assert_eq!((Kind::of(&like), network(&like)), (Ok(kind), network(&listener)));
    }
}
