//! What steps upload.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use kiln_cache::{Location, Store};

use crate::bucket::Bucket;
use crate::rig::bytes;
use crate::s3;

/// Files, and the names that they have in a store.
const FILES: [(&[&str], usize, &str); 5] = [
    (&["releases", "app", "1", "a.jar"], 9, "artifacts/releases/app/1/a.jar"),
    (&["releases", "", "empty"], 0, "artifacts/releases/empty"),
    (&["releases", "a b+ü=1.txt"], 20_000_000, "artifacts/releases/a b+ü=1.txt"),
    (&["..", "..", "x"], 1, "artifacts/%2E%2E/%2E%2E/x"),
    (&["releases", "[v1] {a}#1"], 1, "artifacts/releases/%5Bv1%5D %7Ba%7D%231"),
];

async fn upload(store: &Store, names: &[&str], length: usize) {
    let mut upload = store.upload(names.iter().copied());
    for piece in bytes(length).chunks(3_000_000) {
        upload.write(&Bytes::copy_from_slice(piece)).await.expect("bytes");
    }
    upload.finish().await.expect("an end");
}

#[tokio::test]
async fn files_are_found_under_their_names_and_none_leaves_its_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let location = Location::Directory(dir.path().join("uploads"));
    let store = Store::open(&location, &BTreeMap::new(), u64::MAX).expect("a store");
    for (names, length, path) in FILES {
        upload(&store, names, length).await;
        let found = fs::read(dir.path().join("uploads").join(path));
        assert!(found.is_ok_and(|found| found == bytes(length)), "{path}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
}

#[tokio::test]
async fn a_bucket_holds_them_under_the_same_names() {
    let bucket = Bucket::start().await;
    let store = s3::store(&bucket, "ci");
    for (names, length, _) in FILES {
        upload(&store, names, length).await;
    }
    let mut expected = FILES.map(|(_, _, path)| format!("ci/{path}"));
    expected.sort();
    assert_eq!(bucket.names(), expected);
    assert_eq!((bucket.refused(), bucket.unfinished()), (Vec::new(), 0));
    assert_eq!(store.uploaded_to("releases/app"), "s3://builds/ci/artifacts/releases/app");
}
