//! Measures how long a workspace takes from this machine into an agent over mTLS on loopback, beside `git ls-files | tar` over the same,
//! and prints a table: `cargo bench -p kiln-executor`.
//!
//! Three ways take turns, so that another load of the machine weighs on all of them, and each is told by its median:
//!
//! - tar of what `git ls-files` lists, without `.git`: git does not work in that copy;
//! - tar of the same and `.git`: the bytes that Kiln sends, which is the fair comparison;
//! - Kiln, which also lists what is not tracked, and takes credentials out of `.git`.
//!
//! All go to the same agent, which unpacks them in this process. Files are in memory where there is a `/dev/shm`: a disk would be
//! measured too, and some keep the place of a file that was removed for a while, so that each round would be slower than the one before.
//! Each transfer is made by a process of its own, so that its memory can be
//! read, and a ratio is the median of the ratios within a round. `KILN_BENCH_FILES`, `KILN_BENCH_MB` and `KILN_BENCH_ROUNDS` say how large
//! the workspace is, and how often each way takes its turn.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_agent_client::{Agent, Credentials};
use kiln_agent_rig::{Client, NAME, Pem, Rig, pem};
use kiln_executor::workspace;
use kiln_wire::reach::Reach;
use tokio::io::AsyncReadExt as _;

const MEGABYTE: f64 = 1e6;
/// Bytes per piece that tar is read by.
const PIECE_BYTES: usize = 64 << 10;

/// What the files are made of.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is measured.
const WAYS: [(&str, &str); 3] =
    [("tar", "git ls-files | tar"), ("tar-git", "(git ls-files; echo .git) | tar"), ("kiln", "kiln, with .git")];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match arguments.next() {
        None => runtime.block_on(compare()),
        Some(way) => runtime.block_on(send(&way, Path::new(&arguments.next().expect("a folder")))),
    }
}

/// Returns a setting of the environment.
fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a transfer took.
#[derive(Clone, Copy, Default)]
struct Taken {
    seconds: f64,
    /// Of these, those before the first byte, in which the sources are listed.
    listing: f64,
    /// The most memory of the process that sends, in MB.
    client_mb: f64,
}

async fn compare() {
    let (files, megabytes) = (number("KILN_BENCH_FILES", 50_000), number("KILN_BENCH_MB", 1000));
    let in_memory = Path::new("/dev/shm");
    let dir = if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a folder");
    let workspace = dir.path().join("workspace");
    make(&workspace, files, megabytes * 1_000_000 / files);
    let rig = Rig::start().await;
    let client = rig.authority.issue_client("client").expect("a certificate");
    let client = pem(&rig.authority, &client);
    for (name, text) in [("ca", client.ca), ("cert", client.cert), ("key", client.key)] {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    fs::write(dir.path().join("address"), rig.address.to_string()).expect("a file");
    println!("{files} files of {megabytes} MB, and {:.0} MB of .git", size_mb(&workspace.join(".git")));
    // Forgets what the process needed at most so far.
    drop(fs::write("/proc/self/clear_refs", "5"));
    let mut rounds = Vec::new();
    for _ in 0..number("KILN_BENCH_ROUNDS", 5) {
        rounds.push(WAYS.map(|(way, _)| one(way, dir.path())));
    }
    report(&rounds);
    println!("the agent and this program took {:.0} MB at most", most_resident());
    println!("load of the machine: {}", fs::read_to_string("/proc/loadavg").expect("Linux").trim());
}

fn report(rounds: &[[Taken; WAYS.len()]]) {
    println!(
        "{:<32} {:>8} {:>9} {:>9} {:>10} {:>11}",
        "", "seconds", "without", "with .git", "listing, s", "client, MB"
    );
    for (n, (_, title)) in WAYS.iter().enumerate() {
        let of = |what: fn(&Taken) -> f64| median(rounds.iter().map(|round| what(&round[n])).collect());
        let ratio = |to: usize| median(rounds.iter().map(|round| round[n].seconds / round[to].seconds).collect());
        let most = rounds.iter().map(|round| round[n].client_mb).fold(0.0, f64::max);
        let (seconds, listing) = (of(|taken| taken.seconds), of(|taken| taken.listing));
        println!("{title:<32} {seconds:>8.2} {:>8.2}x {:>8.2}x {listing:>10.2} {most:>11.1}", ratio(0), ratio(1));
    }
    println!("{:<32} {:>8} {:>8}x {:>9} {:>10} {:>11}", "limit", "", "1.30", "", "", "64.0");
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

/// Returns the size of a folder's files, in MB.
fn size_mb(dir: &Path) -> f64 {
    let output = Command::new("du").args(["--summarize", "--bytes"]).arg(dir).output().expect("a program");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("a number") / MEGABYTE
}

/// Makes a repository with one commit, as a clone has it: with all objects in one pack.
fn make(dir: &Path, files: usize, bytes_each: usize) {
    fs::create_dir(dir).expect("a folder");
    git(dir, &["init", "--quiet", "--initial-branch=main"]);
    let mut import = Command::new("git");
    import.arg("-C").arg(dir).args(["-c", "core.compression=1", "fast-import", "--quiet", "--depth=0"]);
    let mut child = import.stdin(Stdio::piped()).spawn().expect("git is installed");
    let mut to = BufWriter::new(child.stdin.take().expect("a pipe"));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut write = || -> io::Result<()> {
        writeln!(to, "commit refs/heads/main\ncommitter somebody <s@example.org> 1700000000 +0000\ndata 5\nfirst")?;
        for n in 0..files {
            writeln!(to, "M 100644 inline src/{}/{}/file-{n}.txt\ndata {bytes_each}", n % 64, n / 64 % 32)?;
            // Digits, which compress about as well as sources do not quite.
            for at in (0..bytes_each).step_by(8) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let digits: [u8; 8] = std::array::from_fn(|n| DIGITS[(random >> (32 + 4 * n)) as usize % DIGITS.len()]);
                to.write_all(&digits[..8.min(bytes_each - at)])?;
            }
            writeln!(to)?;
        }
        to.flush()
    };
    write().expect("fast-import reads all");
    drop(to);
    assert!(child.wait().expect("an end").success());
    git(dir, &["checkout", "--quiet", "--force", "main"]);
}

fn git(dir: &Path, args: &[&str]) {
    assert!(Command::new("git").arg("-C").arg(dir).args(args).status().expect("git is installed").success());
}

/// Lets a process send the workspace, and returns what that took.
fn one(way: &str, dir: &Path) -> Taken {
    let target = dir.join("arrived");
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program).arg(way).arg(dir).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{way}");
    let told = String::from_utf8(output.stdout).expect("text");
    let mut told = told.split_whitespace().map(|word| word.parse::<f64>().expect("a number"));
    let mut next = || told.next().expect("three numbers");
    let taken = Taken { seconds: next(), listing: next(), client_mb: next() };
    let status = Command::new("git").arg("-C").arg(&target).args(["status", "--porcelain"]).output();
    if way != "tar" {
        assert!(status.is_ok_and(|status| status.status.success() && status.stdout.is_empty()), "{way}");
    }
    fs::remove_dir_all(&target).expect("a folder");
    taken
}

/// Sends the workspace, and prints how long it took, how long of that it was listed, and this process's memory at most.
async fn send(way: &str, dir: &Path) {
    let text = |name: &str| fs::read_to_string(dir.join(name)).expect("a file");
    let (root, target) = (dir.join("workspace"), dir.join("arrived"));
    let address: std::net::SocketAddr = text("address").parse().expect("an address");
    let target = target.to_str().expect("UTF-8");
    let pem = Pem { ca: text("ca"), cert: text("cert"), key: text("key") };
    let start = Instant::now();
    let mut listing = Duration::ZERO;
    if way == "kiln" {
        let identity = kiln_tls::Identity { cert_pem: pem.cert, key_pem: pem.key.into() };
        let credentials = Credentials { ca_pem: pem.ca, client: identity };
        let agent = Agent::new(&Reach::from(address), NAME, &credentials).expect("a client");
        let tree = tokio::task::spawn_blocking(move || workspace::read(&root));
        let tree = tree.await.expect("an end").expect("a tree");
        listing = start.elapsed();
        agent.put_workspace(target, tree.pack()).await.expect("it arrives");
    } else {
        let client = Client::with_protocols(address, NAME, &pem, &["http/1.1"]);
        let url = format!("{}/kiln/v1/workspace?path={target}", client.base);
        let body = reqwest::Body::wrap_stream(tar(&root, way == "tar-git"));
        let answer = client.http.put(url).body(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
    }
    let took = start.elapsed().as_secs_f64();
    println!("{took} {} {}", listing.as_secs_f64(), most_resident());
}

/// Returns what tar writes of the files that git lists.
fn tar(root: &Path, with_git: bool) -> BoxStream<'static, io::Result<Bytes>> {
    let list = if with_git { "{ git ls-files -z; printf '.git\\0'; }" } else { "git ls-files -z" };
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").arg(format!("{list} | tar --create --null --files-from=- --file=-")).current_dir(root);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a shell");
    let from = child.stdout.take().expect("a pipe");
    let next = |(mut from, child): (tokio::process::ChildStdout, tokio::process::Child)| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match from.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), (from, child))),
            Err(error) => Some((Err(error), (from, child))),
        }
    };
    futures::stream::unfold((from, child), next).boxed()
}

/// Returns the most memory that this process ever had, in MB.
fn most_resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kilobytes * 1024.0 / MEGABYTE
}
