//! Caches: what lies at paths, packed and unpacked again.

mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rig::Rig;
use serde_json::{Value, json};

const FORMATS: [&str; 3] = ["tar", "gzip", "zstd"];

/// Packs paths below the rig's folder, and returns the archive and what the agent says of it.
async fn pack(rig: &Rig, paths: &[&str], format: &str) -> (Vec<u8>, Value) {
    let request = json!({"base": rig.path("from"), "paths": paths, "format": format});
    let answer = rig.client.send("/kiln/v1/archive", &request).await;
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.expect("a body");
    let (body, length) = body.split_last_chunk::<4>().expect("a length");
    let (archive, json) = body.split_at(body.len() - u32::from_le_bytes(*length) as usize);
    (archive.to_vec(), serde_json::from_slice(json).expect("JSON"))
}

/// Unpacks an archive into a folder of the rig.
async fn unpack(rig: &Rig, to: &str, paths: &[&str], format: &str, archive: Vec<u8>) -> (u16, Value) {
    let request = json!({"base": rig.path(to), "paths": paths, "format": format}).to_string();
    let url = format!("{}/kiln/v1/archive", rig.client.base);
    let sent = rig.client.http.put(url).query(&[("request", request)]).body(archive).send().await;
    let answer = sent.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn write(path: impl AsRef<Path>, text: &[u8], mode: u32) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Everything below a folder: mode, time where it is kept, and the beginning and length of the content, or the target.
fn tree(dir: &Path) -> BTreeMap<String, (u32, i64, String)> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let meta = path.symlink_metadata().expect("metadata");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            found.extend(tree(&path).into_iter().map(|(below, what)| (format!("{name}/{below}"), what)));
            found.insert(name + "/", (mode, 0, String::new()));
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            found.insert(name, (0, 0, target.to_string_lossy().into_owned()));
        } else {
            let text = fs::read(&path).expect("a file");
            let begins = String::from_utf8_lossy(&text[..text.len().min(20)]).into_owned();
            found.insert(name, (mode, meta.mtime(), format!("{} {begins}", text.len())));
        }
    }
    found
}

fn fill(rig: &Rig) {
    let at = |name: &str| rig.path(&format!("from/{name}"));
    write(at("m/run"), b"#!/bin/sh\n", 0o755);
    write(at("m/deep/er/file.txt"), &vec![b'x'; 300_000], 0o640);
    write(at(&format!("m/{}/{}", "long".repeat(30), "name".repeat(50))), b"long", 0o600);
    write(at("m/sealed/inside"), b"1", 0o400);
    fs::create_dir_all(at("m/empty")).expect("a folder");
    fs::set_permissions(at("m/sealed"), fs::Permissions::from_mode(0o555)).expect("a mode");
    symlink("deep/er/file.txt", at("m/link")).expect("a link");
    symlink("/nowhere", at("m/dangling")).expect("a link");
    write(at("p/a/dist/out"), b"a", 0o644);
    write(at("p/b/dist/out"), b"b", 0o644);
    write(at("p/b/src/in"), b"not this", 0o644);
    let file = fs::File::options().write(true).open(at("p/a/dist/out")).expect("a file");
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    file.set_modified(time).expect("a time");
}

#[tokio::test]
async fn what_is_packed_comes_back_as_it_was_in_every_format() {
    let rig = Rig::start().await;
    fill(&rig);
    let absolute = rig.path("from/m");
    for format in FORMATS {
        let paths = ["p/*/dist", absolute.as_str(), "nothing"];
        let (archive, told) = pack(&rig, &paths, format).await;
        assert_eq!(told["error"], Value::Null, "{told}");
        let to = format!("to-{format}");
        let moved = rig.path(&to) + "/m";
        let (status, answer) = unpack(&rig, &to, &["p/*/dist", &moved, "nothing"], format, archive).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["entries"], &answer["bytes"]), (&told["entries"], &told["bytes"]), "{format}");
        let mut expected = tree(Path::new(&rig.path("from")));
        expected.retain(|name, _| !name.starts_with("p/b/src"));
        assert_eq!(tree(Path::new(&rig.path(&to))), expected, "{format}");
        assert_eq!(expected["p/a/dist/out"].1, 1_600_000_000);
    }
}

#[tokio::test]
async fn what_two_paths_cover_is_packed_once() {
    let rig = Rig::start().await;
    fill(&rig);
    let (_, once) = pack(&rig, &["m"], "tar").await;
    let (_, twice) = pack(&rig, &["m", "m/deep", "m/*"], "tar").await;
    assert_eq!(once, twice);
}

#[tokio::test]
async fn the_home_directory_is_that_of_the_steps() {
    let rig = Rig::with(|settings| {
        let home = settings.state_dir.with_file_name("home").to_string_lossy().into_owned();
        settings.base_env.insert("HOME".to_owned(), home);
    })
    .await;
    write(rig.path("home/.m2/repository/a.jar"), b"jar", 0o644);
    write(rig.path("home/.m2/settings.xml"), b"secret", 0o644);
    let (archive, _) = pack(&rig, &["~/.m2/repository"], "zstd").await;
    fs::remove_dir_all(rig.path("home")).expect("a folder");
    assert_eq!(unpack(&rig, "to", &["~/.m2/repository"], "zstd", archive).await.0, 200);
    assert_eq!(fs::read(rig.path("home/.m2/repository/a.jar")).expect("a file"), b"jar");
    assert!(!Path::new(&rig.path("home/.m2/settings.xml")).exists());
}

#[tokio::test]
async fn what_is_there_is_replaced_and_nothing_else_goes() {
    let rig = Rig::start().await;
    fill(&rig);
    let (archive, _) = pack(&rig, &["m"], "zstd").await;
    write(rig.path("outside"), b"as it was", 0o644);
    write(rig.path("to/m/run"), b"old", 0o444);
    write(rig.path("to/m/mine"), b"mine", 0o644);
    symlink(rig.path("outside"), rig.path("to/m/link")).expect("a link");
    write(rig.path("to/m/empty"), b"a file where a folder comes", 0o644);
    assert_eq!(unpack(&rig, "to", &["m"], "zstd", archive).await.0, 200);
    let mut expected = tree(Path::new(&rig.path("from/m")));
    expected.insert("mine".to_owned(), tree(Path::new(&rig.path("to/m")))["mine"].clone());
    assert_eq!(tree(Path::new(&rig.path("to/m"))), expected);
    assert_eq!(fs::read(rig.path("outside")).expect("a file"), b"as it was");
}

/// Makes an archive of any entries, also such as no agent packs.
fn archive(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append(&header, *data).expect("an entry");
    }
    builder.into_inner().expect("an archive")
}

#[tokio::test]
async fn an_archive_makes_nothing_outside_of_its_paths() {
    use tar::EntryType as E;
    let rig = Rig::start().await;
    fs::create_dir_all(rig.path("to/m")).expect("a folder");
    fs::create_dir_all(rig.path("secret")).expect("a folder");
    let secret = rig.path("secret");
    write(rig.path("secret/x"), b"theirs", 0o600);
    let untouched = tree(Path::new(&secret));
    let end = ("end", E::Regular, "", b"".as_slice());
    let file = |name| (name, E::Regular, "", b"evil".as_slice());
    for (what, entries, status) in [
        ("climbs", vec![file("0/m/../../x"), end], 400),
        ("absolute", vec![file("/m/x"), end], 400),
        ("another root", vec![file("1/m/x"), end], 400),
        ("no root", vec![file("m/x"), end], 400),
        ("the root itself", vec![file("0"), end], 400),
        ("not covered", vec![file("0/other"), end], 400),
        ("a folder not covered", vec![("0/other", E::Directory, "", b""), end], 400),
        ("through a link", vec![("0/m/l", E::Symlink, secret.as_str(), b""), file("0/m/l/x"), end], 422),
        ("a hard link", vec![("0/m/h", E::Link, "/etc/passwd", b""), end], 422),
        ("a device", vec![("0/m/d", E::Char, "", b""), end], 422),
        ("no folder", vec![file("0/m/none/x"), end], 422),
        ("no end", vec![file("0/m/x")], 422),
    ] {
        let (told, answer) = unpack(&rig, "to", &["m"], "tar", archive(&entries)).await;
        assert_eq!(told, status, "{what}: {answer}");
        assert_eq!(tree(Path::new(&rig.path("to"))).keys().collect::<Vec<_>>(), ["m/"], "{what}");
        assert_eq!(tree(Path::new(&secret)), untouched, "{what}");
    }
    // A link itself may lead anywhere, as links of build tools do.
    let entries = [("0/m/l", E::Symlink, secret.as_str(), b"".as_slice()), end];
    assert_eq!(unpack(&rig, "to", &["m"], "tar", archive(&entries)).await.0, 200);
}

#[tokio::test]
async fn a_broken_archive_leaves_everything_as_it_was_wherever_it_breaks() {
    let rig = Rig::start().await;
    fill(&rig);
    write(rig.path("to/m/mine"), b"mine", 0o644);
    write(rig.path("to/m/run"), b"as it was", 0o444);
    write(rig.path("to/m/empty"), b"a file where a folder comes", 0o644);
    symlink("run", rig.path("to/m/link")).expect("a link");
    let before = tree(Path::new(&rig.path("to")));
    for format in FORMATS {
        let (whole, _) = pack(&rig, &["m", "p"], format).await;
        for part in [1, 4, 7] {
            let cut = whole[..whole.len() * part / 8].to_vec();
            let (status, answer) = unpack(&rig, "to", &["m", "p"], format, cut).await;
            assert_eq!(status, 422, "{format} {part}: {answer}");
            assert!(answer["error_msg"].as_str().expect("a message").contains("broken"), "{answer}");
            assert_eq!(tree(Path::new(&rig.path("to"))), before, "{format} {part}");
        }
        if format != "tar" {
            // The last bytes are check sums.
            let mut wrong = whole.clone();
            let at = wrong.len() - if format == "gzip" { 7 } else { 3 };
            wrong[at] ^= 1;
            assert_eq!(unpack(&rig, "to", &["m", "p"], format, wrong).await.0, 422, "{format}");
            assert_eq!(tree(Path::new(&rig.path("to"))), before, "{format}");
        }
        let (status, _) = unpack(&rig, "to", &["m", "p"], format, b"no archive at all".repeat(100)).await;
        assert_eq!(status, 422, "{format}");
    }
    assert_eq!(unpack(&rig, "to", &["../m"], "tar", Vec::new()).await.0, 400);
}

#[tokio::test]
async fn an_archive_that_cannot_be_made_says_why() {
    let rig = Rig::start().await;
    fill(&rig);
    let (_, told) = pack(&rig, &["m"], "tar").await;
    let limit = told["bytes"].as_u64().expect("bytes") - 1;
    let request = json!({"base": rig.path("from"), "paths": ["m"], "max_bytes": limit});
    let answer = rig.client.send("/kiln/v1/archive", &request).await;
    let body = answer.bytes().await.expect("a body");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains(&format!("more than {limit} bytes")), "{}", &text[text.len().saturating_sub(300)..]);
    for (paths, told) in [(json!(["../x"]), "`..`"), (json!([""]), "empty")] {
        let request = json!({"base": rig.path("from"), "paths": paths});
        let (status, message) = rig.client.refused("/kiln/v1/archive", &request).await;
        assert!(status == 400 && message.contains(told), "{status} {message}");
    }
    assert_eq!(rig.client.refused("/kiln/v1/look", &json!({"base": "relative"})).await.0, 400);
}

#[tokio::test]
async fn a_look_tells_what_is_there_and_the_sums_that_sha256sum_prints() {
    let rig = Rig::start().await;
    write(rig.path("from/go.sum"), b"abc", 0o644);
    write(rig.path("from/sub/go.sum"), b"", 0o644);
    let request = json!({
        "base": rig.path("from"),
        "digests": ["go.sum", "{go.sum,*/go.sum}", "none.lock"],
        "paths": ["go.sum", "sub", "*/go.sum", "none", "su"],
    });
    let told = rig.client.ok("/kiln/v1/look", &request).await;
    assert_eq!(told["found"], json!([true, true, true, false, false]));
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(told["digests"][0], json!({"files": 1, "sha256": abc}));
    assert_eq!(told["digests"][2], json!({"files": 0, "sha256": ""}));
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let lines = format!("{abc}  go.sum\n{empty}  sub/go.sum\n");
    let mut both = kiln_tls::Sha256::default();
    both.update(lines.as_bytes());
    assert_eq!(told["digests"][1], json!({"files": 2, "sha256": both.hex()}));
}

/// A small file system at a folder. It is unmounted on drop.
struct SmallDisk(String);

impl SmallDisk {
    /// Mounts one. Returns none, and prints so, where this user may not mount.
    fn mount(at: String) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = std::process::Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", &at]).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                println!("NOT TESTED: this user may not mount a file system ({other:?}); run it as root");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = std::process::Command::new("umount").args(["-l", &self.0]).status();
        assert!(ended.is_ok_and(|status| status.success()), "{} stays mounted", self.0);
    }
}

#[tokio::test]
async fn a_cache_that_does_not_fit_on_the_disk_is_told_and_leaves_everything_as_it_was() {
    let rig = Rig::start().await;
    fill(&rig);
    write(rig.path("from/m/large"), &vec![b'x'; 4 << 20], 0o644);
    let (archive, _) = pack(&rig, &["m"], "zstd").await;
    let Some(disk) = SmallDisk::mount(rig.path("to")) else { return };
    write(rig.path("to/m/run"), b"as it was", 0o644);
    let before = tree(Path::new(&disk.0));
    let (status, answer) = unpack(&rig, "to", &["m"], "zstd", archive).await;
    let message = answer["error_msg"].as_str().unwrap_or_default();
    assert!(status == 500 && message.contains("No space left on device"), "{status} {answer}");
    assert_eq!(tree(Path::new(&disk.0)), before);
}
