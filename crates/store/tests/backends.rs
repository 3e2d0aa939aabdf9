//! Everything that the engine expects of its store, on each database.

#![allow(clippy::unwrap_used, reason = "the checks are not marked as tests")]

#[cfg(target_os = "linux")]
mod breakage;
mod suite;

use std::sync::Arc;

use kiln_engine::conformance;
use kiln_store::postgres_for_tests;
use suite::{Database, Memory};

async fn check(new: impl Fn() -> Database) {
    for (name, check) in conformance::CHECKS {
        println!("{name}");
        check(Arc::new(new())).await;
    }
    for (name, check) in suite::CHECKS {
        println!("{name}");
        check(new()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    check(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Database { url: format!("sqlite:{}/{number}.db?sync=off", folder.path().display()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory() {
    for (name, check) in conformance::CHECKS {
        println!("{name}");
        let store = kiln_store::open("sqlite::memory:").await.unwrap().store;
        check(Arc::new(Memory(store))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let server = postgres_for_tests::start().unwrap();
    check(|| Database { url: server.database().unwrap() }).await;
}
