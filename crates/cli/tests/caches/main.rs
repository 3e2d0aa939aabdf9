//! `kiln cache`: what is kept, and how it goes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use kiln_cache::{Location, Name, Store, Wanted};
use kiln_wire::agent::archive::Format;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `kiln cache` for a user whose folders are below one.
fn kiln(home: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.arg("cache").args(words).env("XDG_CACHE_HOME", home).env("HOME", home);
    for variable in ["KILN_CACHE_STORE", "KILN_CACHE_LIMIT_MIB", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"] {
        command.env_remove(variable);
    }
    let output = command.output().expect("kiln ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Keeps bytes in the directory that a user's runs have.
async fn keep(home: &Path, scope: &str, key: &str, bytes: usize) {
    let location = Location::Directory(home.join("kiln/cache"));
    let store = Store::open(&location, &BTreeMap::new(), u64::MAX).expect("a store");
    let name = Name { scope: scope.to_owned(), key: key.to_owned() };
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
    keep(home.path(), "octo/hello", "maven-1", 3 << 20).await;
    keep(home.path(), "octo/other", "maven-1", 1000).await;
    keep(home.path(), "octo/other", "npm-2", 10).await;
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
    let removed = kiln(home.path(), &["rm", "--scope", "octo/other", "maven-1"]);
    assert_eq!((removed.code, removed.out.as_str()), (Some(0), "removed maven-1 of octo/other\n"));
    let pruned = kiln(home.path(), &["prune", "--cache-limit", "1"]);
    assert_eq!(pruned.out, "removed maven-1 of octo/hello\nremoved 1 caches, 3.0 MiB\nkept 1 caches, 10 B\n");
    assert_eq!(
        kiln(home.path(), &["prune", "--unused-for", "30d"]).out,
        "removed 0 caches, 0 B\nkept 1 caches, 10 B\n"
    );
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
