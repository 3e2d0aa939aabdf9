//! A bucket of caches.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_cache::{Error, Limits, Location, Saved, Store};

use crate::bucket::{ACCESS_KEY, BUCKET, Bucket, Fault, SECRET_KEY};
use crate::rig::{begin, bytes, load, name, save, wanted};

/// Most bytes of an archive.
const LIMIT_BYTES: u64 = 30_000_000;

/// The settings that a person has in the environment.
pub fn settings() -> BTreeMap<String, String> {
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Opens the store in a bucket, below a prefix.
pub fn store(bucket: &Bucket, prefix: &str) -> Store {
    let location = Location::parse(&bucket.url(prefix)).expect("a location");
    Store::open(&location, &settings(), LIMIT_BYTES).expect("a store")
}

/// The names of what is there in a folder.
fn names(bucket: &Bucket, folder: &str) -> Vec<String> {
    bucket.names().into_iter().filter(|name| name.starts_with(folder)).collect()
}

/// Waits until nothing is half-way in a bucket.
async fn nothing_is_unfinished(bucket: &Bucket) {
    for _ in 0..1000 {
        if bucket.unfinished() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} are unfinished", bucket.unfinished());
}

#[tokio::test]
async fn what_was_saved_is_found_again_below_the_prefix() {
    let bucket = Bucket::start().await;
    let (mine, other) = (store(&bucket, "ci/caches"), store(&bucket, ""));
    assert_eq!(load(&mine, "k").await, Ok(None));
    for length in [0, 1, 20_000_000] {
        let (key, bytes) = (format!("k{length}"), bytes(length));
        assert_eq!(save(&mine, wanted(&key, false), &bytes).await, Saved::Saved { bytes: length as u64 });
        assert!(load(&mine, &key).await == Ok(Some(bytes)), "{length}");
        assert_eq!(load(&other, &key).await, Ok(None));
    }
    assert_eq!(names(&bucket, "ci/caches/keys/").len(), 3);
    assert_eq!(bucket.names().len(), 6, "{:?}", bucket.names());
    // A list has several pages.
    assert_eq!(mine.list().await.expect("a list").len(), 3);
    assert!(mine.remove(&name("k1")).await.expect("an answer"));
    assert!(!mine.remove(&name("k1")).await.expect("an answer"));
    assert_eq!(names(&bucket, "ci/caches/data/").len(), 2, "an archive stays without its key");
    assert_eq!((bucket.refused(), bucket.unfinished()), (Vec::new(), 0));
}

#[tokio::test]
async fn of_two_that_save_one_key_the_first_stays_unless_it_is_to_be_replaced() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "");
    let (first, second) =
        (begin(&store, wanted("k", false), b"first").await, begin(&store, wanted("k", false), b"second").await);
    assert_eq!(load(&store, "k").await, Ok(None), "it is seen before its end");
    assert_eq!(first.finish().await.expect("an end"), Saved::Saved { bytes: 5 });
    assert_eq!(second.finish().await.expect("an end"), Saved::Kept);
    assert_eq!(load(&store, "k").await, Ok(Some(b"first".to_vec())));
    assert_eq!(save(&store, wanted("k", true), b"third").await, Saved::Saved { bytes: 5 });
    assert_eq!(load(&store, "k").await, Ok(Some(b"third".to_vec())));
    assert_eq!(names(&bucket, "data/").len(), 1, "what was replaced stays");
    assert!(bucket.refused().is_empty());
}

#[tokio::test]
async fn a_key_that_is_written_and_answered_too_late_is_saved() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "");
    bucket.fault(Fault::LateAnswer);
    assert_eq!(save(&store, wanted("k", false), b"text").await, Saved::Saved { bytes: 4 });
    assert_eq!(load(&store, "k").await, Ok(Some(b"text".to_vec())));
    assert_eq!(bucket.faults_left(), []);
}

#[tokio::test]
async fn a_busy_store_is_asked_again_and_what_breaks_off_goes_on_where_it_was() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "");
    let bytes = bytes(9_000_000);
    bucket.fault(Fault::Busy);
    save(&store, wanted("k", false), &bytes).await;
    let Ok(kiln_cache::Lookup::Hit(entry)) = store.find(&name("k")).await else { panic!("a key") };
    bucket.fault(Fault::CutOff);
    let reading = store.open_archive(&entry).await.expect("an archive");
    let read: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(reading.bytes).await.expect("all of it");
    assert!(read.concat() == bytes);
    let seen = bucket.seen();
    assert!(seen.iter().any(|seen| seen.starts_with("GET") && seen.ends_with("-8999999")), "{seen:?}");
    assert_eq!(bucket.faults_left(), []);
}

#[tokio::test]
async fn what_is_given_up_dropped_or_refused_half_way_leaves_nothing() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "");
    begin(&store, wanted("k", true), &bytes(10_000_000)).await.give_up().await;
    assert_eq!(bucket.unfinished(), 0);
    let dropped = begin(&store, wanted("k", true), &bytes(10_000_000)).await;
    assert_eq!(bucket.unfinished(), 1);
    drop(dropped);
    nothing_is_unfinished(&bucket).await;
    let saving = begin(&store, wanted("k", true), b"text").await;
    bucket.fault(Fault::NoRoom);
    let error = saving.finish().await.expect_err("a refusal");
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert_eq!((bucket.names(), bucket.unfinished(), bucket.faults_left()), (Vec::new(), 0, Vec::new()));
    let mut saving = begin(&store, wanted("k", true), &bytes(25_000_000)).await;
    let error = saving.write(&bytes(5_000_001).into()).await.expect_err("too large");
    assert!(matches!(error, Error::TooLarge { limit_bytes: LIMIT_BYTES }), "{error:?}");
    drop(saving);
    nothing_is_unfinished(&bucket).await;
    assert_eq!(load(&store, "k").await, Ok(None));
}

#[tokio::test]
async fn an_archive_that_is_changed_or_gone_is_noticed() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "");
    save(&store, wanted("k", false), &bytes(1000)).await;
    let archive = names(&bucket, "data/").pop().expect("an archive");
    bucket.change(&archive, |mut bytes| {
        bytes[500] ^= 1;
        Some(bytes)
    });
    let why = load(&store, "k").await.expect_err("a fault");
    assert!(why.contains("not those that were saved"), "{why}");
    let Ok(kiln_cache::Lookup::Hit(entry)) = store.find(&name("k")).await else { panic!("a key") };
    assert!(store.has_archive(&entry).await.expect("an answer"));
    bucket.change(&archive, |_| None);
    assert!(!store.has_archive(&entry).await.expect("an answer"));
    assert_eq!(load(&store, "k").await, Err("missing".to_owned()));
}

#[tokio::test]
async fn what_was_saved_long_ago_goes_when_that_is_asked_for() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, "p");
    for key in ["a", "b", "c"] {
        save(&store, wanted(key, false), b"text").await;
    }
    // The bucket of the test says of everything that it is years old.
    let kept = store.prune(&Limits { bytes: store.limit_bytes(), unused_for: None }).await.expect("an end");
    assert_eq!((kept.kept, kept.removed.len()), (3, 0));
    let limits = Limits { bytes: None, unused_for: Some(Duration::from_secs(3600)) };
    assert_eq!(store.prune(&limits).await.expect("an end").removed.len(), 3);
    assert!(bucket.names().is_empty() && bucket.refused().is_empty(), "{:?}", bucket.names());
}

#[tokio::test]
async fn a_store_that_refuses_a_key_is_told_without_it() {
    let bucket = Bucket::start().await;
    let location = Location::parse(&bucket.url("")).expect("a location");
    let mut settings = settings();
    settings.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "another".to_owned());
    let store = Store::open(&location, &settings, u64::MAX).expect("a store");
    let error = store.find(&name("k")).await.expect_err("a refusal");
    let told = format!("{error}: {error:?}");
    assert!(told.contains(BUCKET) && told.contains("SignatureDoesNotMatch"), "{told}");
    assert!(!told.contains("another"), "{told}");
    assert_eq!(bucket.refused().len(), 1);
}
