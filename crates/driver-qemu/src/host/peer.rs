//! Whether connections on this host come out of a VM.
//!
//! QEMU's user-mode network lets a VM reach the host's loopback, as 10.0.2.2, and nothing in the address tells such a
//! connection from one of the host's own programs. The process that holds its other end does: it is a QEMU, or it runs as one of
//! the users that only VMs are.
//!
//! To find that out, the kernel's table of sockets and the files of every QEMU have to be read, some milliseconds on a host at
//! rest and seconds on a loaded one. One reading serves any number of connections, so they are looked at together.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::host::ids;

/// Beginning of the names of QEMU's processes, as the kernel cuts them.
const QEMU: &str = "qemu-system";
/// A socket that is not in the table is looked for again, up to this often: the kernel hands the table out in pieces, and a
/// socket that moves meanwhile can be missed.
const LOOKS: u32 = 3;
/// The kernel's tables of this network namespace.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// A connection that a program of this host accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The address of the other end.
    pub peer: SocketAddr,
    /// The address of the accepting end.
    pub local: SocketAddr,
}

/// What holds the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A program of this host that is no QEMU, or whose files this process may not look into.
    Program,
    /// A QEMU.
    Vm,
    /// Nothing any more. It may have been anybody.
    Gone,
}

/// Returns what holds the other end of each connection, in their order. Blocks while it reads `/proc`.
#[must_use]
pub fn peers(connections: &[Connection]) -> Vec<Peer> {
    let mut found = look(connections);
    for _ in 1..LOOKS {
        let missed: Vec<usize> = (0..found.len()).filter(|at| found[*at] == Peer::Gone).collect();
        if missed.is_empty() {
            break;
        }
        let again: Vec<Connection> = missed.iter().map(|at| connections[*at]).collect();
        for (at, peer) in missed.into_iter().zip(look(&again)) {
            found[at] = peer;
        }
    }
    found
}

/// A socket that is there before and after the QEMUs were looked into was in none of them if it was not found there.
fn look(connections: &[Connection]) -> Vec<Peer> {
    let before = sockets_of(connections);
    let held = held_by_vms(Path::new("/proc"));
    let after = sockets_of(connections);
    connections.iter().map(|connection| judge(before.get(connection), after.get(connection), &held)).collect()
}

fn judge(before: Option<&Socket>, after: Option<&Socket>, held_by_vms: &HashSet<u64>) -> Peer {
    match (before, after) {
        (Some(socket), _) if held_by_vms.contains(&socket.inode) || ids::is_vms(socket.uid) => Peer::Vm,
        (Some(socket), Some(still)) if socket == still => Peer::Program,
        _ => Peer::Gone,
    }
}

/// The inodes of all sockets that QEMUs hold.
fn held_by_vms(proc: &Path) -> HashSet<u64> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten().map(|entry| entry.path());
    processes.filter(|process| is_qemu(process)).flat_map(|process| sockets(&process)).collect()
}

fn is_qemu(process: &Path) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with(QEMU))
}

fn sockets(process: &Path) -> Vec<u64> {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let inode = |target: &Path| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    descriptors.filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?)).collect()
}

/// A socket as the kernel's tables show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    inode: u64,
    /// Whose it is.
    uid: u32,
}

/// The other ends' sockets.
fn sockets_of(connections: &[Connection]) -> HashMap<Connection, Socket> {
    let mut found = HashMap::new();
    for table in TABLES {
        if found.len() < connections.len() {
            // A table that is not there has no sockets.
            find(&fs::read_to_string(table).unwrap_or_default(), connections, &mut found);
        }
    }
    found
}

/// Looks connections up in a table of the kernel: its second column is the address of a socket, the third that of its other
/// end, the eighth its user, the tenth its inode. Both addresses count: another program may have the same port towards another address.
fn find(table: &str, connections: &[Connection], found: &mut HashMap<Connection, Socket>) {
    let mut wanted = HashMap::new();
    for connection in connections {
        for (own, other) in spellings(connection.peer).into_iter().zip(spellings(connection.local)) {
            wanted.insert((own, other), *connection);
        }
    }
    for line in table.lines().skip(1) {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (Some(own), Some(other)) = (columns.next(), columns.next()) else { continue };
        let (Some(uid), Some(inode)) = (columns.nth(4), columns.nth(1)) else { continue };
        // One that its process has closed has none.
        let Some(inode) = inode.parse().ok().filter(|inode| *inode != 0) else { continue };
        let Ok(uid) = uid.parse() else { continue };
        if let Some(connection) = wanted.get(&(own.to_owned(), other.to_owned())) {
            found.insert(*connection, Socket { inode, uid });
        }
    }
}

/// The address as the tables spell it, each 32 bits in the byte order of the machine: as itself, and as a socket of the newer
/// family has it that reaches the older one.
fn spellings(address: SocketAddr) -> [String; 2] {
    let hex = |bytes: &[u8]| {
        let word = |four: &[u8]| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
        bytes.chunks_exact(4).map(|four| format!("{:08X}", word(four))).collect::<String>()
    };
    let (own, mapped) = match address.ip() {
        IpAddr::V4(ip) => (hex(&ip.octets()), hex(&ip.to_ipv6_mapped().octets())),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(old) => (hex(&old.octets()), hex(&ip.octets())),
            None => (hex(&ip.octets()), hex(&ip.octets())),
        },
    };
    [own, mapped].map(|ip| format!("{ip}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    fn accepted(stream: &TcpStream) -> Connection {
        Connection { peer: stream.local_addr().expect("its address"), local: stream.peer_addr().expect("its peer") }
    }

    #[test]
    fn a_socket_is_found_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let stream = TcpStream::connect(address).expect("a connection");
        let connection = accepted(&stream);
        let socket = sockets_of(&[connection])[&connection];
        assert!(sockets(Path::new("/proc/self")).contains(&socket.inode));
        assert_eq!(socket.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peers(&[connection]), [Peer::Program], "this test is no QEMU");
        // The same port towards another address is another socket.
        let elsewhere = Connection { local: SocketAddr::new(address.ip(), address.port() ^ 1), ..connection };
        assert_eq!(peers(&[elsewhere, connection]), [Peer::Gone, Peer::Program]);
        let mapped = TcpStream::connect((Ipv6Addr::from_bits(0xffff_7f00_0001), address.port()));
        if let Ok(mapped) = mapped {
            let v4 = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let Connection { peer, local } = accepted(&mapped);
            assert_eq!(peers(&[Connection { peer: v4(peer), local: v4(local) }]), [Peer::Program]);
        }
        drop(stream);
        assert_eq!(peers(&[connection]), [Peer::Gone], "who hung up may have been anybody");
    }

    #[test]
    fn many_are_found_in_one_reading() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let streams: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).expect("a connection")).collect();
        let connections: Vec<Connection> = streams.iter().map(accepted).collect();
        assert_eq!(look(&connections), vec![Peer::Program; connections.len()]);
    }

    #[test]
    fn what_a_qemu_holds_is_a_vms() {
        use std::os::unix::fs::symlink;
        let proc = tempfile::tempdir().expect("a folder");
        for (pid, name, sockets) in [("1", "qemu-system-x86\n", &[4711, 4712][..]), ("2", "curl\n", &[4713])] {
            let files = proc.path().join(pid).join("fd");
            fs::create_dir_all(&files).expect("a folder");
            fs::write(proc.path().join(pid).join("comm"), name).expect("a file");
            for (n, inode) in sockets.iter().enumerate() {
                symlink(format!("socket:[{inode}]"), files.join(n.to_string())).expect("a link");
            }
            symlink("/dev/null", files.join("9")).expect("a link");
        }
        assert_eq!(held_by_vms(proc.path()), HashSet::from([4711, 4712]));
    }

    #[test]
    fn the_user_of_a_vm_gives_it_away_where_its_files_cannot_be_looked_into() {
        let check = |inode, uid, expect| {
            let socket = Socket { inode, uid };
            assert_eq!(judge(Some(&socket), Some(&socket), &HashSet::from([4711])), expect, "{socket:?}");
        };
        check(4711, 0, Peer::Vm);
        check(1, 1_879_048_192, Peer::Vm);
        check(1, 1000, Peer::Program);
    }

    #[test]
    fn the_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:9C40 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000  1879048192        0 4711 1 0 100 0 0 10 0\n   \
                     1: 0100007F:9C41 0100007F:0BB8 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0\n\
                     cut off\n";
        if cfg!(target_endian = "little") {
            let connection = |peer: &str, local: &str| Connection {
                peer: peer.parse().expect("an address"),
                local: local.parse().expect("an address"),
            };
            let known = connection("127.0.0.1:40000", "127.0.0.1:3000");
            let strangers = [
                connection("127.0.0.1:40001", "127.0.0.1:3000"),
                connection("127.0.0.2:40000", "127.0.0.1:3000"),
                connection("127.0.0.1:40000", "127.0.0.1:3001"),
            ];
            let mut found = HashMap::new();
            find(table, &[&[known][..], &strangers].concat(), &mut found);
            assert_eq!(found, HashMap::from([(known, Socket { inode: 4711, uid: 1879048192 })]));
        }
    }
}
