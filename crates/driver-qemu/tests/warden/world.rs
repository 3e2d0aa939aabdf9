//! Two networks for one test: its host's, with addresses of its own, and what lies outside of it. Whoever is asked there counts it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};

use nix::sched::{CloneFlags, unshare};

/// The port of all services but name servers.
pub const PORT: u16 = 7777;
/// The host's own public addresses.
pub const OWN: [&str; 2] = ["203.0.113.1", "2001:db8:1::1"];
/// What lies outside and is public.
pub const PUBLIC: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
/// What lies outside and is not.
pub const PRIVATE: [&str; 4] = ["169.254.169.254", "10.9.8.7", "fd00::7", "10.9.8.53"];
/// The name server that the host uses.
pub const NAME_SERVER: &str = "10.9.8.53";
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// How often each address was reached.
pub type Counts = Arc<Mutex<BTreeMap<SocketAddr, usize>>>;

/// The networks of one test. This thread is in that of the host.
pub struct World {
    counts: Counts,
    _files: tempfile::TempDir,
}

impl World {
    /// Moves this thread into a host's network. Root alone may, or who is root of a user namespace.
    pub fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
        Self::furnish()
    }

    /// Makes that of a host out of the network of this thread, which must be a new one, as its mounts must be.
    pub fn furnish() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let resolv = files.path().join("resolv.conf");
        writeln!(std::fs::File::create(&resolv).expect("a file"), "nameserver {NAME_SERVER}").expect("write");
        run(&["mount", "--make-rprivate", "/"]);
        run(&["mount", "--bind", resolv.to_str().expect("a path"), "/etc/resolv.conf"]);
        let counts = Counts::default();
        let (outside, ready) = outside(&counts);
        run(&["ip", "link", "set", "lo", "up"]);
        let peer = format!("/proc/{}/task/{outside}/ns/net", std::process::id());
        run(&["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", &peer]);
        connect("v0", &OWN);
        ready.recv().expect("what lies outside");
        for address in LOOPBACK.iter().chain(&OWN) {
            serve(address, PORT, &counts);
        }
        Self { counts, _files: files }
    }

    /// Returns how often each address was reached since the last call.
    pub fn reached(&self) -> BTreeMap<SocketAddr, usize> {
        std::mem::take(&mut *self.counts.lock().expect("the counts"))
    }

    /// All addresses at which something answers.
    pub fn everything() -> Vec<SocketAddr> {
        let all = LOOPBACK.iter().chain(&OWN).chain(&PUBLIC).chain(&PRIVATE);
        let name_server = SocketAddr::new(ip(NAME_SERVER), 53);
        all.map(|address| SocketAddr::new(ip(address), PORT)).chain([name_server]).collect()
    }
}

/// The address in a text.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Starts what lies outside, in a thread that stays in its network. Returns the thread's id, and who tells when all there answers.
fn outside(counts: &Counts) -> (i32, mpsc::Receiver<()>) {
    let (told, id) = mpsc::channel();
    let (is_up, ready) = mpsc::channel();
    let counts = Arc::clone(counts);
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network");
        run(&["ip", "link", "set", "lo", "up"]);
        told.send(nix::unistd::gettid().as_raw()).expect("the test waits");
        // The other end comes into this network.
        while !std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces").contains("v1:") {
            std::thread::yield_now();
        }
        let all: Vec<&str> = PUBLIC.into_iter().chain(PRIVATE).collect();
        connect("v1", &all);
        for address in all {
            serve(address, PORT, &counts);
        }
        serve(NAME_SERVER, 53, &counts);
        is_up.send(()).expect("the test waits");
        loop {
            std::thread::park();
        }
    });
    (id.recv().expect("the network outside"), ready)
}

/// Gives an interface addresses, and makes it the way to everywhere.
fn connect(interface: &str, addresses: &[&str]) {
    run(&["ip", "link", "set", interface, "addrgenmode", "none"]);
    run(&["ip", "link", "set", interface, "up"]);
    for address in addresses {
        let six = address.contains(':');
        let (with_length, once) = (format!("{address}/{}", if six { 128 } else { 32 }), ["nodad"]);
        let words = ["ip", "addr", "add", &with_length, "dev", interface];
        run(&words.into_iter().chain(once.into_iter().filter(|_| six)).collect::<Vec<_>>());
    }
    run(&["ip", "route", "add", "default", "dev", interface]);
    run(&["ip", "-6", "route", "add", "default", "dev", interface]);
}

/// Answers on TCP and UDP, and counts.
fn serve(address: &str, port: u16, counts: &Counts) {
    let at = SocketAddr::new(ip(address), port);
    let (tcp, udp) = (TcpListener::bind(at).expect("a listener"), UdpSocket::bind(at).expect("a socket"));
    let count = move |counts: &Counts| *counts.lock().expect("the counts").entry(at).or_default() += 1;
    let own = Arc::clone(counts);
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            count(&own);
            // Whoever asked may be gone.
            let _ = stream.write_all(b"answered\n");
        }
    });
    let own = Arc::clone(counts);
    std::thread::spawn(move || {
        let mut asked = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut asked) {
            count(&own);
            let _ = udp.send_to(b"answered", from);
        }
    });
}

fn run(words: &[&str]) {
    let said = Command::new(words[0]).args(&words[1..]).output().expect("a program");
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
}
