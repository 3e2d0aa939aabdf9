//! Commands for one instance, stage or pool: finding it by the beginning of an id, showing and changing it.

use crate::stub::{Recorded, Stub};

const LIVE: &str = concat!(
    r#"{"instances":[{"id":"kiln-019abc0000027a008000000000000001","state":"claimed","stage":"stage-1"},"#,
    r#"{"id":"kiln-019abc0000027a008000000000000002","state":"ready"}]}"#
);
const ALL: &str = concat!(
    r#"{"instances":[{"id":"kiln-019abc0000027a008000000000000001","state":"claimed","stage":"stage-1"},"#,
    r#"{"id":"kiln-019abc0000027a008000000000000002","state":"ready"},"#,
    r#"{"id":"kiln-019abc0000017a008000000000000009","state":"gone"}]}"#
);
const FIRST: &str = concat!(
    r#"{"id":"kiln-019abc0000027a008000000000000001","pool":"local","state":"claimed","stage":"stage-1","#,
    r#""held_until_unix_ms":$LATER}"#
);
const GONE: &str = concat!(
    r#"{"instance":{"id":"kiln-019abc0000017a008000000000000009","pool":"local","flavor":"local","driver":"qemu","#,
    r#""image":"debian","state":"gone","since_unix_ms":1764029790000,"created_unix_ms":1764029781000,"runner":"host-1","#,
    r#""cause":{"code":"boot_timeout","evidence":"its agent never answered"}},"timeline":["#,
    r#"{"seq":1,"at_unix_ms":1764029781000,"subject":"instance","id":"i","pool":"local","state":"intended","reason":"0 of 1 warm"},"#,
    r#"{"seq":2,"at_unix_ms":1764029790000,"subject":"instance","id":"i","pool":"local","state":"gone","reason":""}]}"#
);
const OPEN: &str =
    r#"{"stages":[{"id":"stage-1","state":"assigned","instance":"kiln-1"},{"id":"other","state":"waiting"}]}"#;
const RECORDED: &[Recorded] = &[
    ("GET /kiln/v1/instances", 200, LIVE),
    ("GET /kiln/v1/instances?all=true", 200, ALL),
    ("GET /kiln/v1/instances/kiln%2D019abc0000017a008000000000000009", 200, GONE),
    ("POST /kiln/v1/instances/kiln%2D019abc0000027a008000000000000001/hold", 200, FIRST),
    ("POST /kiln/v1/instances/kiln%2D019abc0000027a008000000000000001/release", 200, FIRST),
    ("DELETE /kiln/v1/instances/kiln%2D019abc0000027a008000000000000001", 200, FIRST),
    (
        "DELETE /kiln/v1/instances/kiln%2D019abc0000027a008000000000000002",
        200,
        r#"{"id":"kiln-019abc0000027a008000000000000002"}"#,
    ),
    ("GET /kiln/v1/instances/unknown", 404, "{\"error_msg\":\"there is no instance unknown\",\"code\":404}"),
    ("GET /kiln/v1/stages", 200, OPEN),
    ("GET /kiln/v1/stages?all=true", 200, OPEN),
    ("GET /kiln/v1/stages/unknown", 404, "{\"error_msg\":\"there is no stage unknown\",\"code\":404}"),
    (
        "GET /kiln/v1/stages/other",
        200,
        r#"{"stage":{"id":"other","pool":"local","state":"waiting","created_unix_ms":1764029781000,"wait_until_unix_ms":$LATER,"why":"pool local is at its limit"}}"#,
    ),
    ("POST /kiln/v1/stages/stage%2D1/cancel", 200, r#"{"id":"stage-1","state":"ended"}"#),
    ("POST /kiln/v1/pools/local/drain", 200, r#"{"name":"local","drained":true,"claimed":1}"#),
    (
        "POST /kiln/v1/pools/none/drain",
        404,
        "{\"error_msg\":\"there is no pool `none`; there are: local\",\"code\":404}",
    ),
];

#[track_caller]
fn check_asked(stub: &Stub, words: &str, expected: &[&str]) {
    stub.asked();
    let ended = stub.kiln(words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stub.asked(), expected);
}

#[test]
fn instances() {
    let stub = Stub::new(RECORDED);
    let commands = [
        "instance show 019abc000001",
        "instance hold kiln-019abc0000027a008000000000000001 --for 7h30m",
        "instance release kiln-019abc0000027a008000000000000001",
        "instance destroy kiln-019abc0000027a008000000000000001 kiln-019abc0000027a008000000000000002",
    ];
    insta::assert_snapshot!(stub.transcript(&commands), @r"
    $ kiln instance show 019abc000001
    instance  kiln-019abc0000017a008000000000000009
    state     gone since 2025-11-25 00:16:30Z
    pool      local (qemu)
    image     debian
    runner    host-1
    ended by  boot_timeout: its agent never answered

    since 2025-11-25 00:16:21Z
    AFTER  STATE     LASTED  WHY
      0ms  intended    9.0s  0 of 1 warm
     9.0s  gone
    $ kiln instance hold kiln-019abc0000027a008000000000000001 --for 7h30m
    kiln-019abc0000027a008000000000000001 is held for 7h29m: it outlives its stage stage-1
    $ kiln instance release kiln-019abc0000027a008000000000000001
    kiln-019abc0000027a008000000000000001 is not held (claimed)
    $ kiln instance destroy kiln-019abc0000027a008000000000000001 kiln-019abc0000027a008000000000000002
    kiln-019abc0000027a008000000000000001 ends, with its stage stage-1
    kiln-019abc0000027a008000000000000002 ends (it was ready)
    ");
}

#[test]
fn stages_and_pools() {
    let stub = Stub::new(RECORDED);
    insta::assert_snapshot!(stub.transcript(&["stage cancel stage-1", "pool drain local", "stage show ot --format json"]).replace(char::is_numeric, "9"), @r#"
    $ kiln stage cancel stage-9
    stage stage-9 is cancelled, and its instance kiln-9 ends
    $ kiln pool drain local
    pool local is drained: nothing new is made; 9 instance serves a stage to its end
    $ kiln stage show ot --format json
    {"stage":{"id":"other","pool":"local","state":"waiting","created_unix_ms":9999999999999,"wait_until_unix_ms":9999999999999,"why":"pool local is at its limit"}}
    "#);
}

#[test]
fn what_is_asked_of_the_runner() {
    let stub = Stub::new(RECORDED);
    let instance = "/kiln/v1/instances/kiln%2D019abc0000027a008000000000000001";
    let hold = format!("POST {instance}/hold {{\"seconds\":1800}}");
    check_asked(&stub, "instance hold kiln-019abc0000027a008000000000000001", &["GET /kiln/v1/instances", &hold]);
    let cancel = "POST /kiln/v1/stages/stage%2D1/cancel {\"reason\":\"old\"}";
    check_asked(&stub, "stage cancel stage --reason old", &["GET /kiln/v1/stages", cancel]);
    check_asked(&stub, "pool drain local --undo", &["POST /kiln/v1/pools/local/drain {\"drained\":false}"]);
}

#[test]
fn ids_that_name_none_or_several() {
    let stub = Stub::new(RECORDED);
    let commands = ["instance show 019abc000002", "instance destroy unknown", "stage show unknown", "pool drain none"];
    insta::assert_snapshot!(stub.transcript(&commands), @r"
    $ kiln instance show 019abc000002
    error: `019abc000002` matches 2 instances; give more of the id:
      kiln-019abc0000027a008000000000000001
      kiln-019abc0000027a008000000000000002
    [exit code 2]
    $ kiln instance destroy unknown
    error: there is no instance `unknown`; see `kiln instance list --all`
    [exit code 2]
    $ kiln stage show unknown
    error: there is no stage `unknown`; see `kiln stage list --all`
    [exit code 2]
    $ kiln pool drain none
    error: there is no pool `none`; there are: local
    [exit code 2]
    ");
}

#[test]
fn nothing_is_destroyed_when_one_id_is_wrong() {
    let stub = Stub::new(RECORDED);
    assert_eq!(stub.kiln("instance destroy kiln-019abc0000027a008000000000000002 unknown").code, Some(2));
    assert!(stub.asked().iter().all(|asked| !asked.starts_with("DELETE")));
}
