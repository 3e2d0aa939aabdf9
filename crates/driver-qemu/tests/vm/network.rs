//! What VMs reach, from root inside them, and what isolation costs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use kiln_agent_client::Agent;
use kiln_driver::{Driver as _, LaunchRequest};
use kiln_driver_qemu::{QemuDriver, Shape};
use kiln_pool::Network;
use kiln_wire::agent::SetupRequest;
use kiln_wire::reach::Reach;

use crate::containers::script;
use crate::rig::{IMAGE, MEMORY_MIB, Rig, reach};
use crate::world::{NAME_SERVER, PORT, World};

/// Tells the process of a test that its networks are its own.
const IN_WORLD: &str = "KILN_TEST_IN_WORLD";
/// What the host's loopback, and its name server, are to a VM.
const HOST: &str = "10.0.2.2";
const GUESTS_NAME_SERVER: &str = "10.0.2.3";
/// How often a launch is measured, with and without isolation in turn.
const LAUNCHES: u32 = 20;
/// How much is downloaded.
const DOWNLOAD_BYTES: usize = 64 << 20;

/// Asks each address on TCP and on UDP, all at once, and prints a line for each.
const ASK: &str = r#"
cat >/tmp/ask.py <<'END'
import socket, sys, threading
def ask(kind, address):
    host, port = address.rsplit(':', 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
    s.settimeout(10)
    try:
        s.connect((host, int(port)))
        if kind == 'udp': s.send(b'ask')
        said = s.recv(64).decode(errors='replace').strip() or 'closed'
    except Exception as e:
        said = type(e).__name__
    print(f'asked {kind} {address} {said}', flush=True)
threads = [threading.Thread(target=ask, args=(k, a)) for a in sys.argv[1:] for k in ('tcp', 'udp')]
for t in threads: t.start()
for t in threads: t.join()
END
python3 /tmp/ask.py "#;

/// Starts the test again in networks of its own. True where that is done already.
fn in_own_network(name: &str) -> bool {
    if std::env::var_os(IN_WORLD).is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("this program");
    let root = nix::unistd::geteuid().is_root();
    let users: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.args(users).args(["--net", "--mount"]).arg(own).args(["--exact", name, "--nocapture"]).env(IN_WORLD, "1");
    assert!(command.status().expect("unshare").success(), "{name} failed in networks of its own");
    false
}

async fn launch(rig: &Rig, driver: &QemuDriver, id: &str, network: Network) -> (Agent, Reach) {
    let request = LaunchRequest { network, ..rig.request(id) };
    let launched = rig.launch(driver, &request).await;
    let (agent, _) = rig.claim(&launched).await;
    agent.setup(&SetupRequest::default()).await.expect("setup");
    (agent, reach(&launched).clone())
}

/// What each address answers a VM, on TCP and UDP.
async fn ask(agent: &Agent, id: &str, addresses: &[String]) -> BTreeMap<String, [String; 2]> {
    let said = script(agent, id, &format!("{ASK}{}", addresses.join(" "))).await;
    let mut found: BTreeMap<String, [String; 2]> = BTreeMap::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("asked ")) {
        let [kind, address, answer] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        found.entry(address.to_owned()).or_default()[usize::from(kind == "udp")] = answer.to_owned();
    }
    assert_eq!(found.len(), addresses.len(), "{said}");
    found
}

#[test]
fn root_in_a_vm_reaches_what_it_may_and_nothing_else() {
    if !in_own_network("network::root_in_a_vm_reaches_what_it_may_and_nothing_else") {
        return;
    }
    let world = World::furnish();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(reaches_what_it_may(&world));
}

async fn reaches_what_it_may(world: &World) {
    let rig = Rig::new();
    let driver = rig.driver().await;
    // A neighbour that is not isolated has its agent on the host's loopback.
    let (_neighbour, neighbours) = launch(&rig, &driver, "neighbour", Network::open()).await;
    let Reach::Ip(neighbours) = neighbours else { panic!("{neighbours}") };
    let all = ["203.0.113.1", "198.51.100.7", "169.254.169.254", "10.9.8.7", NAME_SERVER, HOST];
    let mut all: Vec<String> = all.iter().map(|address| format!("{address}:{PORT}")).collect();
    all.extend([
        format!("{HOST}:{}", neighbours.port()),
        format!("{GUESTS_NAME_SERVER}:53"),
        format!("{NAME_SERVER}:53"),
    ]);
    let public = ["198.51.100.7:7777".to_owned(), format!("{GUESTS_NAME_SERVER}:53"), format!("{NAME_SERVER}:53")];
    let opened = |hosts: &[&str]| {
        let allow_hosts = hosts.iter().map(|text| text.parse().expect("an address")).collect();
        Network { allow_hosts, ..Network::default() }
    };
    for (id, hosts, opens) in [
        ("closed", &[][..], &[][..]),
        ("opened", &["127.0.0.1:7777", "10.9.8.7:7777"], &["10.0.2.2:7777", "10.9.8.7:7777"]),
    ] {
        let (agent, way) = launch(&rig, &driver, id, opened(hosts)).await;
        assert!(matches!(way, Reach::Unix(_)), "{way}");
        world.reached();
        let found = ask(&agent, id, &all).await;
        for (address, said) in &found {
            let open = public.contains(address) || opens.contains(&&**address);
            let answered = said.iter().filter(|said| *said == "answered").count();
            assert_eq!(answered, if open { 2 } else { 0 }, "{id}: {address} {said:?}");
        }
        let reached = world.reached();
        let seen = |address: &str| address.replace(HOST, "127.0.0.1").replace(GUESTS_NAME_SERVER, NAME_SERVER);
        let open: Vec<SocketAddr> = public
            .iter()
            .map(|one| &**one)
            .chain(opens.iter().copied())
            .map(|one| seen(one).parse().expect("an address"))
            .collect();
        assert!(reached.keys().all(|address| open.contains(address)), "{id}: {reached:?}");
        driver.destroy(id).await.expect("destroy");
    }
    driver.destroy("neighbour").await.expect("destroy");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Sends the same bytes to everybody who connects.
fn source() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {DOWNLOAD_BYTES}\r\n\r\n");
            let chunk = vec![0; 1 << 18];
            // What is not read breaks the connection off at its end. Whoever asked may be gone.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(head.as_bytes());
            for _ in 0..DOWNLOAD_BYTES / chunk.len() {
                let _ = stream.write_all(&chunk);
            }
        }
    });
    port
}

/// Nothing is asked of times: they are told.
#[tokio::test(flavor = "multi_thread")]
async fn isolation_costs_little() {
    let rig = Rig::new();
    let driver = rig.driver().await;
    driver.ensure_golden(IMAGE, Shape { cpus: 2, memory_mib: MEMORY_MIB, disk_gib: 16 }).await.expect("a golden VM");
    let mut times: BTreeMap<(bool, &str), Vec<Duration>> = BTreeMap::new();
    for n in 0..LAUNCHES * 2 {
        let network = Network { isolated: n % 2 == 0, ..Network::default() };
        let (isolated, id) = (network.isolated, format!("cost-{n}"));
        let began = Instant::now();
        let launched = rig.launch(&driver, &LaunchRequest { network, ..rig.request(&id) }).await;
        times.entry((isolated, "launch")).or_default().push(began.elapsed());
        for (phase, took) in &launched.phases {
            times.entry((isolated, phase)).or_default().push(*took);
        }
        rig.claim(&launched).await;
        times.entry((isolated, "claimed")).or_default().push(began.elapsed());
        driver.destroy(&id).await.expect("destroy");
    }
    for ((isolated, what), times) in &mut times {
        assert_eq!(times.len(), LAUNCHES as usize);
        let (least, middle) = (*times.iter().min().expect("one"), median(times));
        eprintln!("isolated {isolated}: {what}: median {middle:?}, least {least:?}");
    }
    let port = source();
    let from_host = download_here(port);
    eprintln!("a process of the host downloads {:.0} MiB/s", mib_s(from_host));
    for (n, isolated) in [true, false, true, false].into_iter().enumerate() {
        let id = format!("loads-{n}");
        let allow_hosts = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        let (agent, _) = launch(&rig, &driver, &id, Network { isolated, allow_hosts, ..Network::default() }).await;
        let url = format!("http://{HOST}:{port}/");
        let said = script(
            &agent,
            "load",
            &format!("curl -sS -o /dev/null -w 'took %{{size_download}} %{{time_total}}\\n' {url}"),
        )
        .await;
        let words: Vec<&str> = said.split("took ").last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(words[0], DOWNLOAD_BYTES.to_string(), "{said}");
        let took = Duration::from_secs_f64(words[1].parse().expect("seconds"));
        eprintln!("isolated {isolated}: a VM downloads {:.1} MiB/s", mib_s(took));
        driver.destroy(&id).await.expect("destroy");
    }
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

fn mib_s(took: Duration) -> f64 {
    (DOWNLOAD_BYTES >> 20) as f64 / took.as_secs_f64()
}

fn download_here(port: u16) -> Duration {
    let began = Instant::now();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the source");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("all of it");
    assert!(all.len() > DOWNLOAD_BYTES);
    began.elapsed()
}
