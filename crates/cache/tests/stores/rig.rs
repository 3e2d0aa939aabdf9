//! What the tests of stores share.

use bytes::Bytes;
use futures::TryStreamExt as _;
use kiln_cache::{Error, Lookup, Name, Saved, Saving, Scope, Store, Wanted};
use kiln_wire::agent::archive::Format;

/// Whose the caches of the tests are.
pub fn scope() -> Scope {
    Scope { owner: "example.com/octo/hello".to_owned(), bucket: "bucket".to_owned() }
}

/// The name of a key.
pub fn name(key: &str) -> Name {
    Name { scope: scope(), key: key.to_owned() }
}

/// What is asked for of a key.
pub fn wanted(key: &str, replaces: bool) -> Wanted {
    Wanted { name: name(key), paths: vec!["a".to_owned(), "~/.m2".to_owned()], format: Format::Zstd, replaces }
}

/// Begins to save, and writes bytes.
pub async fn begin(store: &Store, wanted: Wanted, bytes: &[u8]) -> Saving {
    let mut saving = store.save(wanted).await.expect("a beginning");
    for piece in bytes.chunks(100_000) {
        saving.write(&Bytes::copy_from_slice(piece)).await.expect("bytes");
    }
    saving
}

/// Saves bytes under a key.
pub async fn save(store: &Store, wanted: Wanted, bytes: &[u8]) -> Saved {
    begin(store, wanted, bytes).await.finish().await.expect("an end")
}

/// Returns what is kept under a key, and none for nothing.
///
/// # Errors
/// What is wrong with it.
pub async fn load(store: &Store, key: &str) -> Result<Option<Vec<u8>>, String> {
    let entry = match store.find(&name(key)).await.expect("an answer") {
        Lookup::Hit(entry) => entry,
        Lookup::Miss => return Ok(None),
        Lookup::Broken(why) => return Err(why),
    };
    let reading = store.open_archive(&entry).await.map_err(|error| missing(&error))?;
    let read: Result<Vec<Bytes>, _> = reading.bytes.try_collect().await;
    match read {
        Ok(pieces) => {
            assert_eq!(reading.fault.get(), None);
            Ok(Some(pieces.concat()))
        }
        Err(_) => Err(reading.fault.get().expect("a fault").to_owned()),
    }
}

fn missing(error: &Error) -> String {
    assert!(error.is_missing(), "{error:?}");
    "missing".to_owned()
}

/// Bytes that do not repeat, of any length.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
