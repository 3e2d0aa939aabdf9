//! Rows, certificates and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_agent_client::Credentials;
use kiln_engine::{Agents as _, Limits, Store as _};
use kiln_pool::{Cause, Code, Instance, InstanceId, State};
use kiln_runner::agents::{Leases, PooledAgents, ReadyWhen};
use kiln_tls::Authority;
use tokio::net::TcpListener;

use crate::rig::World;

/// Most connections per second to an agent that does not answer yet.
const ASKED_PER_SECOND_MAX: usize = 5;

/// Returns a row with all fields set.
fn full(id: &str, address: &str) -> Instance {
    Instance {
        id: InstanceId::new(id),
        pool: "p".into(),
        flavor: "p/large".into(),
        site: "fake".into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: "debian".into(),
        digest: "d1".into(),
        state: State::Booting,
        generation: 9,
        runner: "r".into(),
        stage: Some("s".into()),
        created_ms: 1,
        since_ms: 2,
        ready_ms: Some(3),
        claimed_ms: Some(4),
        deadline_ms: Some(5),
        hold_until_ms: Some(6),
        retry_ms: Some(7),
        attempts: 8,
        address: address.parse().ok(),
        server_name: Some("golden".into()),
        needs_claim: true,
        cause: Some(Cause::new(Code::Died, "$1 $10 'quoted'")),
    }
}

fn agents() -> PooledAgents {
    kiln_tls::install_provider();
    let authority = Arc::new(Authority::create().expect("a CA"));
    let client = authority.issue_client("runner").expect("a certificate");
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    PooledAgents::new(authority, credentials, Leases { lease_s: 0, max_age_s: 0 }, ReadyWhen::Proven)
}

/// In the incumbent, the values of a statement went to the wrong columns from the ninth argument on. Every row held
/// four keys, which each claim read again for every machine. `plans_use_indexes` in the tests of `kiln-store` asserts
/// on the statements themselves that no claim scans rows.
#[tokio::test]
async fn defect_17_and_25_a_row_comes_back_as_it_was_and_holds_no_keys() {
    let world = World::new();
    let store = world.open().await.store;
    let row = full("i", "10.0.0.1:9079");
    assert!(
        store
            .insert_instances(std::slice::from_ref(&row), Limits { pool: 1, flavor: Some(1) }, "")
            .await
            .expect("a database")
    );
    assert_eq!(store.instance(&row.id).await.expect("a database"), Some(row.clone()));
    let changed = Instance { generation: 10, attempts: 11, address: "10.0.0.2:9079".parse().ok(), ..row };
    assert!(store.update_instance(&changed, "").await.expect("a database"));
    let read = store.live_instances().await.expect("a database");
    assert_eq!(read, [changed]);
    let columns = serde_json::to_value(&read[0]).expect("JSON");
    let named_after_keys: Vec<&String> = columns
        .as_object()
        .expect("an object")
        .keys()
        .filter(|name| name.contains("key") || name.contains("pem"))
        .collect();
    assert!(named_after_keys.is_empty(), "{named_after_keys:?}");
}

/// The incumbent tried a port that refused connections a hundred times per second and machine. The clock is virtual
/// here, so waiting takes no time, and the test counts connections.
#[tokio::test(start_paused = true)]
async fn defect_21_an_agent_that_boots_is_asked_a_few_times_per_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let refusing = tokio::spawn(async move {
        loop {
            // Every connection is closed.
            drop(listener.accept().await);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let began = tokio::time::Instant::now();
    let instance = Instance { needs_claim: false, ..full("i", &address) };
    agents().boot(&instance).await.expect_err("nobody is there");
    let (asked, seconds) = (asked.load(Ordering::SeqCst), began.elapsed().as_secs_f64());
    assert!(asked >= 5 && seconds >= 5.0, "{asked} times in {seconds} s");
    assert!(asked as f64 <= seconds * ASKED_PER_SECOND_MAX as f64, "{asked} times in {seconds} s");
    refusing.abort();
}

/// The incumbent used the result of making a certificate before checking it.
#[tokio::test(start_paused = true)]
async fn defect_26_a_certificate_that_cannot_be_made_is_an_error() {
    let authority = Authority::create().expect("a CA");
    let error = authority.issue_server("größe").map(drop).expect_err("no name for a certificate");
    assert!(error.to_string().contains("größe"), "{error}");
    // The same holds for an instance: the error is handled by the next attempt or the boot timeout.
    for id in ["größe", "", "two words"] {
        let error = agents().boot(&full(id, "127.0.0.1:1")).await.expect_err("no name for a certificate");
        assert!(!error.is_empty());
    }
}
