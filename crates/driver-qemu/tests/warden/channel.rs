//! The way to the agent, and who ends with whom.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::guarded::{Extras, Guarded, Who};
use crate::world::World;
use crate::{everybody, goes_on};

/// No wait takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than one end takes without the other one reading.
const MUCH: usize = 32 << 20;
const CONNECTIONS: usize = 200;
/// How long a process at rest is looked at.
const LOOK: Duration = Duration::from_millis(500);
const MOST_TICKS: u64 = 10;

/// A program that sends back what comes on the agent's port.
fn echo(who: Who, folder: &Path) -> Guarded {
    listening(who, folder, "echo:9079")
}

fn listening(who: Who, folder: &Path, word: &str) -> Guarded {
    let path = folder.join("agent.sock");
    drop(std::fs::remove_file(&path));
    let agent = UnixListener::bind(&path).expect("a socket");
    let words = [word.to_owned(), "lines".to_owned()];
    let mut guarded = Guarded::start(who, &words, &json!({}), Extras { agent: Some(agent), sign_of_life: None });
    assert_eq!(guarded.line(), format!("{word} listening"));
    guarded
}

fn connect(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(folder.join("agent.sock")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

#[test]
fn the_agent_is_reached_on_its_socket_and_nowhere_else() {
    if !goes_on("channel::the_agent_is_reached_on_its_socket_and_nowhere_else") {
        return;
    }
    let _world = World::enter();
    let folder = tempfile::tempdir().expect("a folder");
    for who in everybody() {
        let guarded = echo(who, folder.path());
        assert!(TcpStream::connect("127.0.0.1:9079").is_err(), "it is on the host's loopback");
        // All at once, most of them silent, and each has its own bytes.
        let mut all: Vec<UnixStream> = (0..CONNECTIONS).map(|_| connect(folder.path())).collect();
        for (n, stream) in all.iter_mut().enumerate() {
            writeln!(stream, "{n}").expect("write");
        }
        for (n, stream) in all.iter_mut().enumerate() {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("a line");
            assert_eq!(line, format!("{n}\n"));
        }
        drop(all);
        assert!(guarded.end().0.success());
    }
}

#[test]
fn an_end_that_has_said_all_still_hears() {
    if !goes_on("channel::an_end_that_has_said_all_still_hears") {
        return;
    }
    let _world = World::enter();
    let folder = tempfile::tempdir().expect("a folder");
    let guarded = echo(Who::Same, folder.path());
    let began = Instant::now();
    let mut stream = connect(folder.path());
    let mut writer = stream.try_clone().expect("a copy");
    let sent = std::thread::spawn(move || {
        let chunk: Vec<u8> = (0..1 << 16).map(|n: u32| n.to_le_bytes()[0]).collect();
        for _ in 0..MUCH / chunk.len() {
            writer.write_all(&chunk).expect("write");
        }
        writer.shutdown(Shutdown::Write).expect("the end");
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("all of it");
    sent.join().expect("all is sent");
    assert_eq!(heard.len(), MUCH);
    assert!(heard.iter().zip((0..=255_u8).cycle()).all(|(found, expect)| *found == expect), "bytes are in order");
    let mib_s = (MUCH >> 20) as f64 / began.elapsed().as_secs_f64();
    eprintln!("{mib_s:.0} MiB/s to the agent and back");
    // One that is given up leaves nothing behind that would keep the others waiting.
    drop(connect(folder.path()));
    let mut after = connect(folder.path());
    writeln!(after, "x").expect("write");
    let mut line = String::new();
    BufReader::new(&after).read_line(&mut line).expect("a line");
    assert_eq!(line, "x\n");
    assert!(guarded.end().0.success());
}

/// A guest that boots accepts connections and says nothing, and whoever asks gives up.
#[test]
fn connections_at_rest_take_no_time() {
    if !goes_on("channel::connections_at_rest_take_no_time") {
        return;
    }
    let _world = World::enter();
    let folder = tempfile::tempdir().expect("a folder");
    let guarded = listening(Who::Same, folder.path(), "mute:9079");
    let silent = connect(folder.path());
    let half = connect(folder.path());
    half.shutdown(Shutdown::Write).expect("the end");
    let mut given_up = connect(folder.path());
    writeln!(given_up, "is anybody there?").expect("write");
    drop(given_up);
    let mut full = connect(folder.path());
    full.set_nonblocking(true).expect("a flag");
    while full.write(&[0; 1 << 16]).is_ok() {}
    let warden = guarded.warden();
    let before = busy_ticks(warden);
    // A loop that waits for nothing would take all of this time.
    std::thread::sleep(LOOK);
    let taken = busy_ticks(warden) - before;
    assert!(taken < MOST_TICKS, "the warden took {taken} hundredths of a second for connections at rest");
    drop((silent, half, full));
    assert!(guarded.end().0.success());
}

/// Time of a processor that a process has taken, in hundredths of a second.
fn busy_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

#[test]
fn neither_half_outlives_the_other() {
    if !goes_on("channel::neither_half_outlives_the_other") {
        return;
    }
    let _world = World::enter();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let path = folder.path().join("life.lock");
    for (n, who) in everybody().into_iter().flat_map(|who| [who; 3]).enumerate() {
        let sign = File::create(&path).expect("a file");
        sign.try_lock().expect("a lock");
        let extras = Extras { agent: None, sign_of_life: Some(OwnedFd::from(sign)) };
        let words = ["status".to_owned(), "lines".to_owned()];
        let mut guarded = Guarded::start(who, &words, &json!({}), extras);
        let _ = guarded.line();
        let lives = || File::open(&path).expect("a file").try_lock().is_err();
        assert!(lives());
        let (warden, program) = (guarded.warden(), guarded.child.id());
        let signal = |pid: i32| kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
        match n % 3 {
            0 => signal(warden),
            1 => signal(i32::try_from(program).expect("a pid")),
            _ => {}
        }
        if n % 3 < 2 {
            wait("the end of the program", || guarded.child.try_wait().expect("a look").is_some());
        }
        let (status, errors) = guarded.end();
        assert_eq!(status.signal(), (n % 3 < 2).then_some(9), "{who:?}: {status} {errors}");
        wait("the end of both", || !lives());
    }
}
