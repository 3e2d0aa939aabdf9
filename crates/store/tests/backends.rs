//! Everything that the engine expects of its store, on each database.

#![allow(clippy::unwrap_used, reason = "the checks are not marked as tests")]

#[cfg(target_os = "linux")]
mod breakage;
mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_engine::conformance;
use kiln_store::postgres_for_tests;
use suite::{Database, Memory};

/// Databases in files of one folder.
struct Files {
    folder: tempfile::TempDir,
    count: AtomicU32,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), count: AtomicU32::new(0) }
    }

    fn database(&self) -> Database {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Database { url: format!("sqlite:{}/{number}.db?sync=off", self.folder.path().display()) }
    }
}

async fn keeps_the_contract(new: impl Fn() -> Database) {
    for (name, check) in conformance::CHECKS {
        println!("{name}");
        check(Arc::new(new())).await;
    }
}

async fn keeps_more(new: impl Fn() -> Database) {
    for (name, check) in suite::CHECKS {
        println!("{name}");
        check(new()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let files = Files::new();
    keeps_the_contract(|| files.database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory_keeps_the_contract() {
    for (name, check) in conformance::CHECKS {
        println!("{name}");
        let store = kiln_store::open("sqlite::memory:").await.unwrap().store;
        check(Arc::new(Memory(store))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let server = postgres_for_tests::start().unwrap();
    keeps_the_contract(|| Database { url: server.database().unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_more() {
    let files = Files::new();
    keeps_more(|| files.database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_more() {
    let server = postgres_for_tests::start().unwrap();
    keeps_more(|| Database { url: server.database().unwrap() }).await;
}
