//! Everything that the engine expects of its store, on each database.

#![allow(clippy::unwrap_used, reason = "the checks are not marked as tests")]

#[cfg(target_os = "linux")]
mod breakage;
mod suite;

use kiln_store::postgres_for_tests;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    for (name, check) in suite::CHECKS {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        check(suite::Backend { url: format!("sqlite:{}/kiln.db?sync=off", folder.path().display()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let server = postgres_for_tests::start().unwrap();
    for (name, check) in suite::CHECKS {
        println!("{name}");
        check(suite::Backend { url: server.database().unwrap() }).await;
    }
}
