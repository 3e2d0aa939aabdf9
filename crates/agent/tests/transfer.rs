//! The workspace going in, and files coming back.

mod rig;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rig::Rig;
use serde_json::{Value, json};

fn tar(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().expect("an archive")
}

/// Adds an entry under any name, also one that the library would refuse to write.
fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, link: &str, data: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    builder.append(&header, data).expect("an entry");
}

fn file(builder: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) {
    add(builder, name, tar::EntryType::Regular, "", data, 0o644);
}

async fn put(rig: &Rig, path: &str, body: Vec<u8>, zstd: bool) -> (u16, Value) {
    let url = format!("{}/kiln/v1/workspace?path={path}", rig.client.base);
    let mut request =
        rig.client.http.put(url).body(if zstd { zstd::encode_all(&*body, 3).expect("zstd") } else { body });
    if zstd {
        request = request.header("content-encoding", "zstd");
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn fetch(rig: &Rig, request: Value) -> BTreeMap<String, String> {
    let answer = rig.client.send("/kiln/v1/files", &request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-encoding"], "zstd");
    let packed = answer.bytes().await.expect("a body");
    let plain = zstd::decode_all(&*packed).expect("zstd");
    let mut archive = tar::Archive::new(&*plain);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (entry.path().expect("a path").display().to_string(), text)
    });
    entries.collect()
}

#[tokio::test]
async fn a_workspace_is_unpacked_with_modes_and_links() {
    let rig = Rig::start().await;
    let dir = rig.path("work%20space").replace("%20", " ");
    let body = tar(|b| {
        add(b, "sealed/", tar::EntryType::Directory, "", b"", 0o555);
        file(b, "sealed/inside", b"1");
        add(b, "bin/run", tar::EntryType::Regular, "", b"#!/bin/sh\n", 0o755);
        add(b, "link", tar::EntryType::Symlink, "bin/run", b"", 0o777);
        file(b, "long/er/path.txt", &vec![b'x'; 300_000]);
    });
    for (zstd, query) in [(true, "work%20space"), (false, "work+space")] {
        let (status, answer) = put(&rig, &rig.path(query), body.clone(), zstd).await;
        assert_eq!((status, answer), (200, json!({"entries": 5, "bytes": 300_011})));
    }
    let at = |name: &str| Path::new(&dir).join(name);
    assert_eq!(std::fs::read(at("sealed/inside")).expect("a file"), b"1");
    assert_eq!(std::fs::metadata(at("sealed")).expect("a directory").permissions().mode() & 0o777, 0o555);
    assert_eq!(std::fs::metadata(at("link")).expect("a file").permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::metadata(at("long/er/path.txt")).expect("a file").len(), 300_000);
}

#[tokio::test]
async fn what_is_there_is_replaced_and_not_written_through() {
    let rig = Rig::start().await;
    std::fs::write(rig.path("outside"), "as it was").expect("a file");
    std::fs::create_dir(rig.path("w")).expect("a directory");
    std::fs::write(rig.path("w/read-only"), "old and longer").expect("a file");
    std::fs::set_permissions(rig.path("w/read-only"), std::fs::Permissions::from_mode(0o444)).expect("a file");
    std::os::unix::fs::symlink(rig.path("outside"), rig.path("w/link")).expect("a link");
    std::fs::hard_link(rig.path("outside"), rig.path("w/hard")).expect("a link");
    let body = tar(|b| ["read-only", "link", "hard", "twice", "twice"].iter().for_each(|name| file(b, name, b"new")));
    assert_eq!(put(&rig, &rig.path("w"), body, true).await.0, 200);
    for name in ["read-only", "link", "hard", "twice"] {
        let path = rig.path(&format!("w/{name}"));
        assert!(!Path::new(&path).is_symlink(), "{name}");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "new", "{name}");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o7777, 0o644, "{name}");
    }
    assert_eq!(std::fs::read_to_string(rig.path("outside")).expect("a file"), "as it was");
}

#[tokio::test]
async fn files_keep_their_modes_and_times_and_may_lie_behind_links_of_the_archive() {
    let rig = Rig::start().await;
    let at = |b: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, time: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(mode);
        header.set_mtime(time);
        b.append_data(&mut header, name, &b"1"[..]).expect("an entry");
    };
    let before_1970 = -86_400_i64;
    let files = [
        ("setuid", 0o4755, 1_700_000_000),
        ("none", 0, 2),
        ("a/b/c/d", 0o600, 1_600_000_000),
        ("./a/b/dot", 0o644, 1_500_000_000),
        ("zero", 0o644, 0),
        ("old", 0o644, before_1970.cast_unsigned()),
        ("real/in", 0o644, 5),
        ("link/in", 0o640, 6),
    ];
    let body = tar(|b| {
        add(b, "link", tar::EntryType::Symlink, "real", b"", 0o777);
        files.iter().for_each(|(name, mode, time)| at(b, name, *mode, *time));
    });
    let (status, answer) = put(&rig, &rig.path("w"), body, true).await;
    assert_eq!((status, answer), (200, json!({"entries": 9, "bytes": 8})));
    let expect = |name: &str, mode: u32, time: i64| {
        let found = std::fs::metadata(rig.path(&format!("w/{name}"))).expect("a file");
        assert_eq!((found.mode() & 0o7777, found.mtime(), found.atime()), (mode, time, time), "{name}");
    };
    for (name, mode, time) in files {
        match name {
            // The same file as `link/in`, which came later.
            "real/in" => expect(name, 0o640, 6),
            // Some tools take a file of the first second of 1970 for none.
            "zero" => expect(name, mode, 1),
            _ => expect(name, mode, time.cast_signed()),
        }
    }
}

#[tokio::test]
async fn nothing_can_be_placed_outside() {
    let rig = Rig::start().await;
    let outside = rig.path("outside");
    std::fs::create_dir(&outside).expect("a directory");
    type Fill<'a> = Box<dyn FnOnce(&mut tar::Builder<Vec<u8>>) + 'a>;
    let attacks: Vec<(&str, Fill<'_>)> = vec![
        ("parent", Box::new(|b| file(b, "../outside/x", b"1"))),
        ("deep parent", Box::new(|b| file(b, "a/../../outside/x", b"1"))),
        ("absolute", Box::new(|b| file(b, &format!("{outside}/x"), b"1"))),
        (
            "through a link",
            Box::new(|b| {
                add(b, "l", tar::EntryType::Symlink, &outside, b"", 0o777);
                file(b, "l/x", b"1");
            }),
        ),
        (
            "through a relative link",
            Box::new(|b| {
                add(b, "l", tar::EntryType::Symlink, "../outside", b"", 0o777);
                file(b, "l/x", b"1");
            }),
        ),
        ("a hard link", Box::new(|b| add(b, "h", tar::EntryType::Link, &format!("{outside}/../ca.pem"), b"", 0o644))),
    ];
    for (name, fill) in attacks {
        let (status, answer) = put(&rig, &rig.path("w"), tar(fill), true).await;
        assert!(status >= 400, "{name}: {status} {answer}");
        assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0, "{name}");
        std::fs::remove_dir_all(rig.path("w")).expect("a directory");
    }
    for path in ["", "relative", "/tmp/../etc"] {
        assert_eq!(put(&rig, path, tar(|_| {}), true).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_broken_stream_is_told() {
    let rig = Rig::start().await;
    let body = tar(|b| file(b, "a", b"1"));
    let (status, answer) = put(&rig, &rig.path("w"), body[..300].to_vec(), true).await;
    assert!(
        status == 500 && answer["error_msg"].as_str().is_some_and(|m| m.contains("cannot unpack into")),
        "{answer}"
    );
}

#[tokio::test]
async fn files_are_fetched_by_glob() {
    let rig = Rig::start().await;
    let base = rig.dir.path().join("w");
    for (name, text) in
        [("a/TEST-1.xml", "1"), ("a/b/TEST-2.xml", "2"), ("a/b/other.txt", "3"), ("c/d", "4"), ("TEST-0.xml", "0")]
    {
        let path = base.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    std::fs::write(rig.dir.path().join("beside"), "5").expect("a file");
    let check = async |paths: Value, names: &[&str]| {
        let found = fetch(&rig, json!({"base": base, "paths": paths})).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), names, "{paths}");
    };
    check(json!(["**/*.xml"]), &["TEST-0.xml", "a/TEST-1.xml", "a/b/TEST-2.xml"]).await;
    check(json!(["a/*.xml", "a/TEST*"]), &["a/TEST-1.xml"]).await;
    check(json!(["a", "c/d"]), &["a/TEST-1.xml", "a/b/TEST-2.xml", "a/b/other.txt", "c/d"]).await;
    check(json!(["no/such/**", "*.txt"]), &[]).await;
    check(json!([base.join("c/*")]), &["c/d"]).await;
    let beside = rig.path("beside");
    check(json!([beside]), &[beside.trim_start_matches('/')]).await;
}

#[tokio::test]
async fn too_many_files_break_the_answer_off() {
    let rig = Rig::start().await;
    std::fs::write(rig.path("big"), vec![0; 5000]).expect("a file");
    let request = json!({"base": rig.dir.path(), "paths": ["big"], "max_bytes": 100});
    // Before its headers are through or after them.
    let whole = match rig.client.try_send("/kiln/v1/files", &request).await {
        Ok(answer) => answer.bytes().await,
        Err(broken) => Err(broken),
    };
    assert!(whole.is_err());
    assert_eq!(rig.client.refused("/kiln/v1/files", &json!({"base": "x"})).await.0, 400);
}
