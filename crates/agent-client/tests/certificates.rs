//! To whom our client speaks: agents with certificates of our shape and of the original's.

use std::net::SocketAddr;
use std::time::Duration;

use kiln_agent_client::{Agent, Credentials};
use kiln_agent_rig::certificates::{ENDED, NOW, Original, TO_COME};
use kiln_agent_rig::{NAME, Pem, pem, serve};
use kiln_tls::{Authority, Identity};
use kiln_wire::reach::Reach;

/// A client that shows these certificates and asks for this name.
fn client(address: SocketAddr, name: &str, pem: &Pem) -> Agent {
    let client = Identity { cert_pem: pem.cert.clone(), key_pem: pem.key.clone().into() };
    let credentials = Credentials { ca_pem: pem.ca.clone(), client };
    Agent::new(&Reach::Ip(address), name, &credentials).expect("a client")
}

/// Whether the client speaks to an agent that shows `server`, on its connections for control and for bulk.
async fn speaks_to(server: &Pem, caller: &Pem, name: &str) -> bool {
    let (_dir, address, _agent) = serve(server, |_| {}).await;
    let agent = client(address, name, caller);
    let control = agent.health().await.is_ok();
    let nothing = futures::stream::empty();
    let target = std::env::temp_dir().join(format!("kiln-certificates-{}", std::process::id()));
    let sent = agent.put_workspace(&target.display().to_string(), Box::pin(nothing)).await;
    drop(std::fs::remove_dir_all(target));
    // An empty stream is no archive, which the agent says; one that is not spoken to says nothing.
    let bulk = sent.is_ok() || sent.is_err_and(|error| !error.is_connection());
    assert_eq!(control, bulk, "control and bulk differ");
    control
}

#[tokio::test]
async fn agents_with_the_originals_certificates_are_spoken_to_only_if_they_are_who_they_should_be() {
    let (authority, other) = (Original::create(), Original::create());
    // One pair for both ends, as the original's runner does it.
    let both = authority.issue("drone", NOW);
    assert!(speaks_to(&both, &both, "drone").await, "the same pair at both ends");
    for (what, days, name) in
        [("ended", ENDED, "drone"), ("not valid yet", TO_COME, "drone"), ("another name", NOW, "x")]
    {
        let server = authority.issue("drone", days);
        assert!(!speaks_to(&server, &both, name).await, "{what}");
    }
    // The agent trusts the caller; the caller must not trust the agent.
    let foreign = Pem { ca: both.ca.clone(), ..other.issue("drone", NOW) };
    assert!(!speaks_to(&foreign, &both, "drone").await, "another authority with the same name");
}

#[tokio::test]
async fn agents_with_our_certificates_are_spoken_to_only_if_they_are_who_they_should_be() {
    let (authority, other) = (Authority::create().expect("a CA"), Authority::create().expect("a CA"));
    let runner = pem(&authority, &authority.issue_client("runner").expect("a certificate"));
    let server = |of: &Authority, name: &str| pem(&authority, &of.issue_server(name).expect("a certificate"));
    assert!(speaks_to(&server(&authority, NAME), &runner, NAME).await, "ours");
    assert!(!speaks_to(&server(&authority, "another"), &runner, NAME).await, "another agent of the authority");
    assert!(!speaks_to(&server(&other, NAME), &runner, NAME).await, "another authority");
    // A caller's certificate does not make an agent.
    let client = pem(&authority, &authority.issue_client(NAME).expect("a certificate"));
    assert!(!speaks_to(&client, &runner, NAME).await, "a client's certificate");
}

/// What is not PEM, or not a pair, is told before anything is sent.
#[tokio::test]
async fn a_pair_that_is_none_is_refused_at_once() {
    kiln_tls::install_provider();
    let (first, second) = (Original::create().issue("drone", NOW), Original::create().issue("drone", NOW));
    for (what, cert, key) in [
        ("no PEM", "nonsense".to_owned(), first.key.clone()),
        ("no key", first.cert.clone(), String::new()),
        ("the key of another certificate", first.cert.clone(), second.key),
    ] {
        let credentials =
            Credentials { ca_pem: first.ca.clone(), client: Identity { cert_pem: cert, key_pem: key.into() } };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let made = Agent::new(&Reach::Ip(address), NAME, &credentials);
        let refused = match made {
            Err(_) => true,
            // A pair that does not fit shows at the first handshake at the latest.
            Ok(agent) => {
                tokio::time::timeout(Duration::from_secs(20), agent.health()).await.is_ok_and(|it| it.is_err())
            }
        };
        assert!(refused, "{what}");
    }
}
