//! The warden of a VM, without a VM: a program in QEMU's place tries to reach all there is.
//!
//! The tests make networks, which takes root, or user namespaces: an ordinary user starts them again as root of one.
#![allow(clippy::disallowed_methods)] // Tests start what they like.

mod channel;
mod guarded;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use guarded::{Extras, Guarded, Who};
use kiln_driver_qemu::{Settings, WardenProgram};
use serde_json::{Value, json};
use world::{NAME_SERVER, PORT, PUBLIC, World, ip};

/// Whether the test `name` goes on here. For an ordinary user it does so in another process, which is root of a user namespace.
fn goes_on(name: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let own = std::env::current_exe().expect("this program");
    let done = Command::new("unshare").args(["--user", "--map-root-user"]).arg(own).args(["--exact", name]).status();
    assert!(done.expect("unshare").success(), "{name} failed as root of a user namespace");
    false
}

/// In a user namespace there is one user only.
fn everybody() -> Vec<Who> {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("the users");
    match map.split_whitespace().nth(2) {
        Some("1") => vec![Who::Same],
        _ => vec![Who::Same, Who::OfVm, Who::Ordinary],
    }
}

/// What each address answers, on TCP and on UDP.
fn answers(who: Who, to: &[SocketAddr], network: &Value) -> (BTreeMap<SocketAddr, [String; 2]>, String) {
    let words: Vec<String> = to.iter().flat_map(|to| [format!("tcp:{to}"), format!("udp:{to}")]).collect();
    let mut guarded = Guarded::start(who, &words, network, Extras::default());
    let mut found = BTreeMap::new();
    for to in to {
        let mut answer = |kind: &str| {
            let line = guarded.line();
            line.strip_prefix(&format!("{kind}:{to} ")).expect("the answer to the word").to_owned()
        };
        found.insert(*to, [answer("tcp"), answer("udp")]);
    }
    let (status, errors) = guarded.end();
    assert!(status.success(), "{status}: {errors}");
    (found, errors)
}

/// What is open whatever is opened.
fn always_open() -> Vec<SocketAddr> {
    let public = PUBLIC.iter().map(|address| SocketAddr::new(ip(address), PORT));
    public.chain([SocketAddr::new(ip(NAME_SERVER), 53)]).collect()
}

/// Everything is tried; just `opened`, and what is always open, answers and has been reached.
fn check(world: &World, who: Who, network: &Value, opened: &[&str]) -> String {
    let opened = opened.iter().map(|text| text.parse::<SocketAddr>().expect("an address"));
    let open: Vec<SocketAddr> = always_open().into_iter().chain(opened).collect();
    let (found, errors) = answers(who, &World::everything(), network);
    let reached = world.reached();
    for (to, [tcp, udp]) in &found {
        if open.contains(to) {
            assert_eq!([&**tcp, &**udp], ["answered", "answered"], "{who:?} {network}: {to}");
            assert_eq!(reached.get(to), Some(&2), "{who:?} {network}: {to}");
        } else {
            assert!(tcp.starts_with("ECONNREFUSED"), "{who:?} {network}: TCP to {to} {tcp}");
            assert!(udp.starts_with("EACCES"), "{who:?} {network}: UDP to {to} {udp}");
            assert_eq!(reached.get(to), None, "{who:?} {network}: {to} was reached");
        }
    }
    errors
}

/// Tells the process of a test that its host cannot isolate.
const LACKING: &str = "KILN_TEST_LACKING";

#[tokio::test]
async fn a_host_that_cannot_isolate_says_what_is_missing() {
    let warden = WardenProgram { program: guarded::WARDEN.into(), ..WardenProgram::default() };
    let checked = kiln_driver_qemu::isolation_check(&Settings { warden, ..Settings::default() }).await;
    if std::env::var_os(LACKING).is_some() {
        assert!(!checked.ok && checked.detail.contains("`sudo sysctl user.max_user_namespaces=15000`"), "{checked:?}");
        return;
    }
    assert!(checked.ok, "{checked:?}");
    let script =
        "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
    let own = std::env::current_exe().expect("this program");
    let mut lacking = Command::new("unshare");
    lacking.args(["--user", "--map-root-user", "sh", "-ec", script, "sh"]).arg(own).env(LACKING, "1");
    lacking.args(["--exact", "a_host_that_cannot_isolate_says_what_is_missing", "--nocapture"]);
    assert!(lacking.status().expect("unshare").success(), "without namespaces of users it is not told");
}

#[test]
fn only_public_addresses_and_the_name_server_answer() {
    if !goes_on("only_public_addresses_and_the_name_server_answer") {
        return;
    }
    let world = World::enter();
    for who in everybody() {
        let errors = check(&world, who, &json!({}), &[]);
        for told in ["10.9.8.7:7777", "127.0.0.1:7777 (in the VM 10.0.2.2:7777)", "[fd00::7]:7777", "203.0.113.1:7777"]
        {
            assert!(errors.contains(&format!("the VM may not reach {told}")), "{errors}");
        }
    }
}

#[test]
fn each_opening_opens_just_that() {
    if !goes_on("each_opening_opens_just_that") {
        return;
    }
    let world = World::enter();
    let cases = [
        (json!({ "allow_hosts": ["127.0.0.1:7777"] }), &["127.0.0.1:7777"][..]),
        (json!({ "allow_hosts": ["[::1]:7777", "169.254.169.254:7777"] }), &["[::1]:7777", "169.254.169.254:7777"]),
        (json!({ "allow_hosts": ["10.9.8.7:7777", "10.9.8.7:1"] }), &["10.9.8.7:7777"]),
        (json!({ "allow_hosts": ["10.9.8.7:7776"] }), &[]),
        (json!({ "allow_hosts": ["203.0.113.1:7777"] }), &["203.0.113.1:7777"]),
        (json!({ "allow": ["10.9.8.0/28"] }), &["10.9.8.7:7777"]),
        (json!({ "allow": ["fd00::/16", "10.9.8.53/32"] }), &["[fd00::7]:7777", "10.9.8.53:7777"]),
    ];
    let who = everybody();
    for (n, (network, opened)) in cases.iter().enumerate() {
        check(&world, who[n % who.len()], network, opened);
    }
}

#[test]
fn an_older_address_in_another_form_is_no_way_around() {
    if !goes_on("an_older_address_in_another_form_is_no_way_around") {
        return;
    }
    let world = World::enter();
    for who in everybody() {
        let forms = ["[::ffff:127.0.0.1]:7777", "[::ffff:10.9.8.7]:7777", "[::ffff:203.0.113.1]:7777", "0.0.0.0:7777"];
        let forms = forms.map(|text| text.parse::<SocketAddr>().expect("an address"));
        let (found, errors) = answers(who, &forms, &json!({}));
        for (to, [tcp, udp]) in &found {
            assert!(tcp.starts_with("ECONNREFUSED") && udp.starts_with("EACCES"), "{to}: {tcp}, {udp}; {errors}");
        }
        let public: SocketAddr = "[::ffff:198.51.100.7]:7777".parse().expect("an address");
        let (found, _) = answers(who, &[public], &json!({}));
        assert_eq!(found[&public][0], "answered", "{who:?}");
        let reached: Vec<SocketAddr> = world.reached().into_keys().collect();
        assert_eq!(reached, ["198.51.100.7:7777".parse::<SocketAddr>().expect("an address")], "{who:?}");
    }
}

#[test]
fn qemu_has_no_rights_and_no_other_way_out() {
    if !goes_on("qemu_has_no_rights_and_no_other_way_out") {
        return;
    }
    let _world = World::enter();
    let words = ["status", "raw:unix", "raw:vsock", "raw:netlink", "raw:sendmsg"].map(str::to_owned);
    for who in everybody() {
        let mut guarded = Guarded::start(who, &words, &json!({}), Extras::default());
        let uid = match who {
            Who::Same => 0,
            Who::OfVm => 0x7000_0007,
            Who::Ordinary => guarded::NOBODY,
        };
        let rights = format!("status uid={uid} effective=0000000000000000 no_new_privs=1 seccomp=2 environment=0");
        assert_eq!(guarded.line(), rights, "{who:?}");
        for (word, errno) in
            [("unix", "EACCES"), ("vsock", "EAFNOSUPPORT"), ("netlink", "EAFNOSUPPORT"), ("sendmsg", "EACCES")]
        {
            let line = guarded.line();
            assert!(line.starts_with(&format!("raw:{word} {errno}")), "{who:?}: {line}");
        }
        assert!(guarded.end().0.success());
    }
}
