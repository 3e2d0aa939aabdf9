//! A directory of caches.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kiln_cache::{Error, Limits, Location, Saved, Store};

use crate::rig::{begin, bytes, load, name, save, scope, wanted};

/// A store in a folder of the test's own.
fn store(dir: &tempfile::TempDir, limit_bytes: u64) -> Store {
    let location = Location::Directory(dir.path().join("caches"));
    Store::open(&location, &BTreeMap::new(), limit_bytes).expect("a store")
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("caches").join(folder)) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[tokio::test]
async fn what_was_saved_is_found_again_with_all_that_is_known_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, u64::MAX);
    assert_eq!(load(&store, "k").await, Ok(None));
    for length in [0, 1, 20_000_000] {
        let bytes = bytes(length);
        let key = format!("k{length}");
        assert_eq!(save(&store, wanted(&key, false), &bytes).await, Saved::Saved { bytes: length as u64 });
        assert!(load(&store, &key).await == Ok(Some(bytes)), "{length}");
    }
    let listed = store.list().await.expect("a list");
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|listed| listed.entry.paths == ["a", "~/.m2"] && listed.entry.scope == scope()));
    assert!(store.remove(&name("k1")).await.expect("an answer"));
    assert!(!store.remove(&name("k1")).await.expect("an answer"));
    assert_eq!(load(&store, "k1").await, Ok(None));
    assert_eq!(files(dir.path(), "data").len(), 2, "an archive stays without its key");
}

#[tokio::test]
async fn a_key_that_is_kept_stays_unless_it_is_to_be_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, u64::MAX);
    save(&store, wanted("k", false), b"first").await;
    assert_eq!(save(&store, wanted("k", false), b"second").await, Saved::Kept);
    assert_eq!(load(&store, "k").await, Ok(Some(b"first".to_vec())));
    assert_eq!(save(&store, wanted("k", true), b"third").await, Saved::Saved { bytes: 5 });
    assert_eq!(load(&store, "k").await, Ok(Some(b"third".to_vec())));
    assert_eq!(files(dir.path(), "data").len(), 1, "what was replaced stays");
}

#[tokio::test]
async fn of_several_that_save_one_key_the_last_to_end_wins_and_nobody_sees_half() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, u64::MAX);
    let texts: Vec<Vec<u8>> = (0..4_u8).map(|number| vec![number; 10_000_000]).collect();
    let mut savers = Vec::new();
    for text in &texts {
        savers.push(begin(&store, wanted("k", true), text).await);
        assert_eq!(load(&store, "k").await, Ok(None), "it is seen before its end");
    }
    for (saving, text) in savers.into_iter().zip(&texts).rev() {
        saving.finish().await.expect("an end");
        assert!(load(&store, "k").await == Ok(Some(text.clone())));
    }
    // At the same time, with readers between: each sees one of them whole.
    let at_once = texts.iter().map(|text| async {
        save(&store, wanted("k", true), text).await;
        match load(&store, "k").await {
            Ok(Some(found)) => assert!(texts.contains(&found), "half of one, or two mixed"),
            // It was replaced between the look and the reading.
            other => assert_eq!(other, Err("missing".to_owned())),
        }
    });
    futures::future::join_all(at_once).await;
    assert!(load(&store, "k").await.expect("whole").is_some_and(|found| texts.contains(&found)));
}

#[tokio::test]
async fn what_is_given_up_or_dropped_half_way_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, 30_000_000);
    begin(&store, wanted("k", true), &bytes(20_000_000)).await.give_up().await;
    drop(begin(&store, wanted("k", true), &bytes(20_000_000)).await);
    let mut saving = begin(&store, wanted("k", true), &bytes(30_000_000)).await;
    let error = saving.write(&bytes::Bytes::from_static(b"x")).await.expect_err("too large");
    assert!(matches!(error, Error::TooLarge { limit_bytes: 30_000_000 }), "{error:?}");
    saving.give_up().await;
    assert_eq!(load(&store, "k").await, Ok(None));
    // The file of the one that was dropped is removed by a thread.
    for _ in 0..1000 {
        if files(dir.path(), "data").is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left: {:?}", files(dir.path(), "data"));
}

#[tokio::test]
async fn an_archive_that_is_not_what_was_saved_is_noticed_and_can_be_saved_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, u64::MAX);
    let good = bytes(3_000_000);
    let archive = |dir: &Path| files(dir, "data").pop().expect("an archive");
    let mut wrong = good.clone();
    wrong[1_000_000] ^= 1;
    for (bad, told) in [
        (wrong, "not those that were saved"),
        (good[..2_000_000].to_vec(), "last 1000000 bytes are missing"),
        ([good.as_slice(), b"more"].concat(), "longer than what was saved"),
    ] {
        save(&store, wanted("k", true), &good).await;
        fs::write(archive(dir.path()), bad).expect("a file");
        let why = load(&store, "k").await.expect_err("a fault");
        assert!(why.contains(told), "{why}");
    }
    save(&store, wanted("k", true), &good).await;
    let key = files(dir.path(), "keys").pop().expect("a key");
    fs::write(&key, "{").expect("a file");
    load(&store, "k").await.expect_err("a fault");
    // What cannot be read keeps nobody from saving.
    assert_eq!(save(&store, wanted("k", false), &good).await, Saved::Saved { bytes: 3_000_000 });
    assert!(load(&store, "k").await == Ok(Some(good.clone())));
    // One whose archive is gone is told as such.
    files(dir.path(), "data").iter().for_each(|file| fs::remove_file(file).expect("a file"));
    assert_eq!(load(&store, "k").await, Err("missing".to_owned()));
}

/// Makes a file look as if it was written so long ago.
fn age(path: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(SystemTime::now() - age).expect("a time");
}

#[tokio::test]
async fn the_least_recently_used_go_first_and_what_is_unfinished_for_long_goes_too() {
    const HOUR: Duration = Duration::from_secs(3600);
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(&dir, u64::MAX);
    for (hours, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let known = files(dir.path(), "keys");
        save(&store, wanted(key, false), &bytes(1000)).await;
        let new = files(dir.path(), "keys").into_iter().find(|file| !known.contains(file)).expect("a key");
        age(&new, HOUR * hours);
    }
    // It is used again.
    assert!(load(&store, "d").await.expect("whole").is_some());
    let old = dir.path().join("caches/data/old");
    for (name, hours) in [("old", 2), ("new", 0), ("old#1", 2), ("new#1", 0)] {
        let path = dir.path().join("caches/data").join(name);
        fs::write(&path, "half").expect("a file");
        age(&path, HOUR * hours);
    }
    let keys = |listed: Vec<kiln_cache::Listed>| listed.into_iter().map(|listed| listed.entry.key).collect::<Vec<_>>();
    let pruned = store.prune(&Limits { bytes: Some(3000), unused_for: None }).await.expect("an end");
    assert_eq!((keys(pruned.removed), pruned.leftovers, pruned.bytes), (vec!["c".to_owned()], 2, 1008));
    assert_eq!((pruned.kept, pruned.kept_bytes), (3, 3000));
    assert!(!old.exists() && !dir.path().join("caches/data/old#1").exists());
    assert!(dir.path().join("caches/data/new").exists() && dir.path().join("caches/data/new#1").exists());
    let limits = Limits { bytes: None, unused_for: Some(HOUR + HOUR / 2) };
    assert_eq!(keys(store.prune(&limits).await.expect("an end").removed), ["b"]);
    assert_eq!(keys(store.list().await.expect("a list")), ["d", "a"]);
}

#[tokio::test]
async fn a_directory_that_is_made_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let of = |path: &Path| fs::metadata(path).expect("a folder").permissions().mode() & 0o777;
    let _store = store(&dir, u64::MAX);
    assert_eq!(of(&dir.path().join("caches")), 0o700);
    // One that somebody made for several users stays as it is.
    fs::set_permissions(dir.path().join("caches"), fs::Permissions::from_mode(0o770)).expect("a mode");
    let _again = store(&dir, u64::MAX);
    assert_eq!(of(&dir.path().join("caches")), 0o770);
}

/// A small file system at a folder. It is unmounted on drop.
struct SmallDisk<'d>(&'d Path);

impl<'d> SmallDisk<'d> {
    /// Mounts one. Returns none, and prints so, where this user may not mount.
    fn mount(at: &'d Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(at).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                println!("NOT TESTED: this user may not mount a file system ({other:?}); run it as root");
                None
            }
        }
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let ended = std::process::Command::new("umount").arg("-l").arg(self.0).status();
        assert!(ended.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_keeps_what_was_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(dir.path()) else { return };
    let store = store(&dir, u64::MAX);
    let good = bytes(9_000_000);
    save(&store, wanted("k", false), &good).await;
    let mut saving = store.save(wanted("k", true)).await.expect("a beginning");
    let mut failed = None;
    for piece in bytes(30_000_000).chunks(1_000_000) {
        failed = saving.write(&bytes::Bytes::copy_from_slice(piece)).await.err();
        if failed.is_some() {
            break;
        }
    }
    let failed = match failed {
        Some(error) => {
            saving.give_up().await;
            error
        }
        None => saving.finish().await.expect_err("a full disk"),
    };
    let told = format!("{failed:?}");
    assert!(matches!(failed, Error::Store { .. }) && told.contains("StorageFull"), "{told}");
    assert!(load(&store, "k").await == Ok(Some(good)));
    assert_eq!(files(disk.0, "data").len(), 1, "half of an archive stays");
    save(&store, wanted("small", false), b"there is room again").await;
}
