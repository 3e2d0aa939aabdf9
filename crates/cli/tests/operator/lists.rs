//! Lists, for people, and for programs in the runner's own form.

use crate::stub::Stub;

const POOLS: &str = concat!(
    r#"{"pools":[{"name":"local","driver":"qemu","os":"linux","arch":"amd64","limit":8,"drained":false,"starting":0,"#,
    r#""ready":2,"hibernated":0,"claimed":1,"terminating":0,"waiting":0,"flavors":[{"key":"local","image":"debian","#,
    r#""warm":2,"wanted":{"awake":3,"asleep":0},"ready":2}],"of a later release":[1]}]}"#,
    "\n"
);
const INSTANCES: &str = concat!(
    r#"{"instances":[{"id":"kiln-019abc0000027a008000000000000001","pool":"local","flavor":"local","driver":"qemu","#,
    r#""image":"debian","state":"claimed","since_unix_ms":$LONG_AGO,"created_unix_ms":$LONG_AGO,"stage":"stage-1","#,
    r#""deadline_unix_ms":$LATER,"runner":"host-1"}]}"#,
    "\n"
);
const STAGES: &str = concat!(
    r#"{"stages":[{"id":"stage-2","pool":"local","state":"waiting","created_unix_ms":$LONG_AGO,"wait_until_unix_ms":$LATER,"#,
    r#""set_up":false,"why":"pool local is at its limit"}]}"#,
    "\n"
);
const CHANGES: &str = concat!(
    ": a comment\n\nid: 4\nevent: stage\n",
    r#"data: {"seq":4,"at_unix_ms":1764029781123,"subject":"stage","id":"stage-1","pool":"local","state":"waiting","reason":"asked for"}"#,
    "\n\nid: 5\nevent: instance\n",
    r#"data: {"seq":5,"at_unix_ms":1764029781500,"subject":"instance","id":"kiln-1","pool":"local","state":"claimed","reason":"stage stage-1"}"#,
    "\n\n"
);

#[test]
fn for_people() {
    let stub = Stub::new(&[
        ("GET /kiln/v1/pools", 200, POOLS),
        ("GET /kiln/v1/instances", 200, INSTANCES),
        ("GET /kiln/v1/stages", 200, STAGES),
        ("GET /kiln/v1/events", 200, CHANGES),
    ]);
    insta::assert_snapshot!(stub.transcript(&["pool list", "instance list", "stage list", "events"]), @r"
    $ kiln pool list
    POOL   DRIVER  PLATFORM     READY  WANTED  STARTING  ASLEEP  BUSY  ENDING  LIMIT  WAITING  NOTE
    local  qemu    linux/amd64    2/2       3         0       0     1       0      8        0
    $ kiln instance list
    INSTANCE                               POOL   STATE      FOR    AGE  HEARD  STAGE    NOTE
    kiln-019abc0000027a008000000000000001  local  claimed  3d04h  3d04h         stage-1  ends in 7h29m at most
    $ kiln stage list
    STAGE    POOL   STATE      FOR  INSTANCE  WHY
    stage-2  local  waiting  3d04h            pool local is at its limit; gives up in 7h29m
    $ kiln events
    2025-11-25 00:16:21Z  stage     stage-1  local  waiting: asked for
    2025-11-25 00:16:21Z  instance  kiln-1  local  claimed: stage stage-1
    ");
    assert_eq!(stub.asked().last().map(String::as_str), Some("GET /kiln/v1/events after 0"));
}

#[test]
fn rows_that_the_runner_cannot_read_are_told_below() {
    let stub = Stub::new(&[
        ("GET /kiln/v1/pools", 200, r#"{"pools":[],"unreadable":[{"subject":"stage","id":"s-1","why":"it is\nodd"}]}"#),
        (
            "GET /kiln/v1/instances",
            200,
            r#"{"instances":[],"unreadable":[{"subject":"instance","id":"i-1","why":"a"}]}"#,
        ),
        ("GET /kiln/v1/stages", 200, r#"{"stages":[],"unreadable":[{"subject":"stage","id":"s-1","why":"b"}]}"#),
    ]);
    insta::assert_snapshot!(stub.transcript(&["pool list", "instance list", "stage list"]), @r"
    $ kiln pool list
    no pools
    note: stage s-1 cannot be shown, and is left alone:  it is odd
    $ kiln instance list
    no instances
    note: instance i-1 cannot be shown, and is left alone:  a
    $ kiln stage list
    no stages
    note: stage s-1 cannot be shown, and is left alone:  b
    ");
    assert_eq!(stub.kiln("pool list --format json").stderr, "");
}

#[test]
fn for_programs() {
    let stub = Stub::new(&[("GET /kiln/v1/pools", 200, POOLS), ("GET /kiln/v1/events", 200, CHANGES)]);
    assert_eq!(stub.kiln("pool list --format json").stdout, POOLS);
    let lines: Vec<&str> = CHANGES.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(stub.kiln("events --format json").stdout.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let stub = Stub::new(&[
        ("GET /kiln/v1/pools", 200, r#"{"pools":[]}"#),
        ("GET /kiln/v1/instances?all=true&pool=b+c&state=gone", 200, r#"{"instances":[]}"#),
        ("GET /kiln/v1/stages?all=true", 200, r#"{"stages":[]}"#),
        ("GET /kiln/v1/events", 200, ": nothing\n\n"),
    ]);
    insta::assert_snapshot!(stub.transcript(&["pool list", "stage list --all", "events"]), @r"
    $ kiln pool list
    no pools
    $ kiln stage list --all
    no stages
    $ kiln events
    no events
    ");
    // Names are passed on unchanged.
    let spaced = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(["instance", "list", "--pool", "b c", "--state", "gone", "--runner", &stub.url])
        .output()
        .expect("kiln runs");
    assert_eq!(String::from_utf8_lossy(&spaced.stdout), "no instances\n", "{:?}", stub.asked());
}

#[test]
fn colours_are_for_terminals() {
    let stub = Stub::new(&[("GET /kiln/v1/instances", 200, INSTANCES)]);
    let coloured = |env: &[(&str, &str)]| {
        let mut all = vec![("KILN_RUNNER", stub.url.as_str())];
        all.extend(env);
        crate::stub::kiln("instance list", &all).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[]), "a pipe is no terminal");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
}

#[test]
fn a_stream_that_breaks_off_goes_on_where_it_was() {
    use std::io::{BufRead as _, BufReader};
    let stub = Stub::new(&[("GET /kiln/v1/events", 200, CHANGES)]);
    let mut kiln = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(["events", "--follow", "--runner", &stub.url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("kiln runs");
    // The recording ends its stream each time, so the second pair of lines comes from a second stream.
    let lines = BufReader::new(kiln.stdout.take().expect("piped")).lines().take(4);
    assert_eq!(lines.map_while(Result::ok).count(), 4);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(kiln.id().cast_signed()), nix::sys::signal::Signal::SIGINT)
        .expect("alive");
    assert_eq!(kiln.wait().expect("ends").code(), Some(0), "Ctrl-C is how it ends");
    assert_eq!(stub.asked()[..2], ["GET /kiln/v1/events", "GET /kiln/v1/events after 5"]);
}
