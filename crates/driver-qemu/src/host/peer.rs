//! Whether a connection on this host comes out of a VM.
//!
//! QEMU's user-mode network lets a VM reach the host's loopback, as 10.0.2.2, and nothing in the address tells such a
//! connection from one of the host's own programs. The process that holds its other end does: it is a QEMU.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Beginning of the names of QEMU's processes, as the kernel cuts them.
const QEMU: &str = "qemu-system";

/// Whether the process that holds the socket `peer`, on this host, is a QEMU, or may have been: whoever has hung up meanwhile
/// cannot be told from one. Processes of other users cannot be looked into; they count as none.
#[must_use]
pub fn is_vm(peer: SocketAddr) -> bool {
    let Some(found) = inode(peer) else { return true };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let held = processes.filter(|process| is_qemu(process)).any(|process| holds(&process, found));
    held || inode(peer) != Some(found)
}

fn is_qemu(process: &Path) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with(QEMU))
}

fn holds(process: &Path, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|to| to.as_os_str() == wanted.as_str())
}

/// The inode of the socket with this local address.
fn inode(local: SocketAddr) -> Option<u64> {
    let in_table = |table, address| find(&fs::read_to_string(table).ok()?, address);
    match local.ip() {
        // A socket of the newer family reaches the older one too.
        IpAddr::V4(ip) => in_table("/proc/self/net/tcp", local)
            .or_else(|| in_table("/proc/self/net/tcp6", SocketAddr::new(ip.to_ipv6_mapped().into(), local.port()))),
        IpAddr::V6(_) => in_table("/proc/self/net/tcp6", local),
    }
}

/// Looks an address up in the kernel's table: the second column is the local address, the tenth the inode.
fn find(table: &str, local: SocketAddr) -> Option<u64> {
    let wanted: HashSet<String> = spellings(local);
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let inode = columns.get(9)?.parse().ok().filter(|inode| *inode != 0)?;
        wanted.contains(*columns.get(1)?).then_some(inode)
    })
}

/// The address as the table spells it: each 32 bits in the byte order of the machine.
fn spellings(address: SocketAddr) -> HashSet<String> {
    let hex = |bytes: &[u8]| {
        let word = |four: &[u8]| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
        bytes.chunks_exact(4).map(|four| format!("{:08X}", word(four))).collect::<String>()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => hex(&ip.octets()),
        IpAddr::V6(ip) => hex(&ip.octets()),
    };
    HashSet::from([format!("{ip}:{:04X}", address.port())])
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_is_found_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let stream = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        let local = stream.local_addr().expect("its address");
        let inode = inode(local).expect("its inode");
        assert!(holds(Path::new("/proc/self"), inode));
        // This test is no QEMU, and nobody has that other port.
        assert!(!is_vm(local));
        assert_eq!(find("header\n", local), None);
        let mapped = TcpStream::connect((Ipv6Addr::from_bits(0xffff_7f00_0001), local_port(&listener)));
        if let Ok(mapped) = mapped {
            let peer = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), mapped.local_addr().expect("its address").port());
            assert!(!is_vm(peer));
        }
        drop(stream);
        assert!(is_vm(local), "who hung up may have been anybody");
    }

    fn local_port(listener: &TcpListener) -> u16 {
        listener.local_addr().expect("its address").port()
    }

    #[test]
    fn the_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(find(table, "127.0.0.1:3000".parse().expect("an address")), Some(4711));
            assert_eq!(find(table, "127.0.0.2:3000".parse().expect("an address")), None);
        }
    }
}
