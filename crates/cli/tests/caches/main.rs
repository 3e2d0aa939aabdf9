//! `kiln cache`: what is kept, and how it goes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use kiln_cache::{Location, Name, Scope, Store, Wanted};
use kiln_wire::agent::archive::Format;

use bucket::{ACCESS_KEY, Bucket, SECRET_KEY};

#[path = "../../../cache/tests/stores/bucket/mod.rs"]
#[expect(dead_code, reason = "the tests of stores ask more of it")]
mod bucket;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `kiln cache` for a user whose folders are below one.
fn kiln(home: &Path, words: &[&str]) -> Ended {
    end(&mut command(home, words))
}

fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.arg("cache").args(words).env("XDG_CACHE_HOME", home).env("HOME", home);
    for variable in ["KILN_CACHE_STORE", "KILN_CACHE_LIMIT_MIB"] {
        command.env_remove(variable);
    }
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"AWS_") {
            command.env_remove(variable);
        }
    }
    command
}

fn end(command: &mut Command) -> Ended {
    let output = command.output().expect("kiln ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Opens the directory that a user's runs have.
fn directory(home: &Path) -> Store {
    let location = Location::Directory(home.join("kiln/cache"));
    Store::open(&location, &BTreeMap::new(), u64::MAX).expect("a store")
}

/// Keeps bytes for a later run.
async fn keep(store: &Store, owner: &str, key: &str, bytes: usize) {
    let scope = Scope { owner: owner.to_owned(), bucket: String::new() };
    let name = Name { scope, key: key.to_owned() };
    let wanted = Wanted { name, paths: vec!["~/.m2".to_owned()], format: Format::Zstd, replaces: true };
    let mut saving = store.save(wanted).await.expect("a beginning");
    saving.write(&Bytes::from(vec![7; bytes])).await.expect("bytes");
    saving.finish().await.expect("an end");
}

#[tokio::test]
async fn caches_are_listed_pruned_and_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let none = kiln(home.path(), &["list"]);
    assert!(none.code == Some(0) && none.out.is_empty() && none.err.contains("no caches in "), "{}", none.err);
    let store = directory(home.path());
    keep(&store, "octo/hello", "maven-1", 3 << 20).await;
    keep(&store, "octo/other", "maven-1", 1000).await;
    keep(&store, "octo/other", "npm-2", 10).await;
    let listed = kiln(home.path(), &["list"]);
    for part in ["KEY", "maven-1", "octo/hello", "3.0 MiB", "~/.m2", "npm-2"] {
        assert!(listed.out.contains(part), "{part}: {}", listed.out);
    }
    let json = kiln(home.path(), &["list", "--format", "json"]).out;
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().any(|line| line["key"] == "npm-2" && line["bytes"] == 10 && line["format"] == "zstd"),
        "{json}"
    );
    // Nothing goes when one of the keys is not there.
    let refused = kiln(home.path(), &["rm", "npm-2", "none"]);
    assert!(refused.code == Some(2) && refused.err.contains("none: there is no such cache"), "{}", refused.err);
    let removed = kiln(home.path(), &["rm", "--owner", "octo/other", "maven-1"]);
    assert_eq!((removed.code, removed.out.as_str()), (Some(0), "removed maven-1 of octo/other\n"));
    let pruned = kiln(home.path(), &["prune", "--cache-limit", "1"]);
    assert_eq!(pruned.out, "removed maven-1 of octo/hello\nremoved 1 cache, 3.0 MiB\nkept 1 cache, 10 B\n");
    assert_eq!(kiln(home.path(), &["prune", "--unused-for", "30d"]).out, "removed 0 caches, 0 B\nkept 1 cache, 10 B\n");
    let json = kiln(home.path(), &["prune", "--unused-for", "0s", "--format", "json"]).out;
    let pruned: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(pruned["removed"][0]["key"] == "npm-2" && pruned["kept"] == 0, "{json}");
}

/// Runs `kiln cache` for a user who has keys of a bucket, on a thread that the bucket does not need.
async fn kiln_with(home: &Path, words: &[&str], keys: &'static [(&str, &str)]) -> Ended {
    let (home, words) = (home.to_owned(), words.iter().map(ToString::to_string).collect::<Vec<_>>());
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        end(command(&home, &words).envs(keys.iter().copied()))
    })
    .await
    .expect("kiln ends")
}

#[tokio::test]
async fn a_bucket_is_used_with_the_keys_of_the_environment_or_of_a_profile() {
    const KEYS: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    const WRONG: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", "wrong-secret")];
    let (home, bucket) = (tempfile::tempdir().expect("a folder"), Bucket::start().await);
    let url = bucket.url("ci");
    let settings = KEYS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let store = Store::open(&Location::parse(&url).expect("a location"), &settings, u64::MAX).expect("a store");
    keep(&store, "octo/hello", "maven-1", 1000).await;
    let words = ["list", "--format", "json", "--cache-store", &url];
    let listed = kiln_with(home.path(), &words, KEYS).await;
    assert!(listed.code == Some(0) && listed.out.contains("maven-1"), "{} {}", listed.out, listed.err);
    let profile = format!("[ci]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    std::fs::write(home.path().join(".aws/credentials"), profile).expect("a file");
    let listed = kiln_with(home.path(), &words, &[("AWS_PROFILE", "ci")]).await;
    assert!(listed.code == Some(0) && listed.out.contains("maven-1"), "{} {}", listed.out, listed.err);
    assert!(bucket.refused().is_empty(), "{:?}", bucket.refused());
    let refused = kiln_with(home.path(), &words, WRONG).await;
    assert!(refused.code == Some(3) && refused.err.contains("SignatureDoesNotMatch"), "{}", refused.err);
    assert!(refused.err.contains("s3://builds/ci") && !refused.err.contains("wrong-secret"), "{}", refused.err);
}

#[test]
fn a_store_that_cannot_be_is_refused_as_wrong_usage() {
    let home = tempfile::tempdir().expect("a folder");
    for (store, told) in [("gs://b", "gs:// is no store"), ("s3://k:s@b", "AWS_ACCESS_KEY_ID"), ("s3://", "no bucket")]
    {
        let refused = kiln(home.path(), &["list", "--cache-store", store]);
        assert!(refused.code == Some(2) && refused.err.contains(told), "{store}: {:?} {}", refused.code, refused.err);
    }
}
