//! Section 3: who is spoken to.

use kiln_tls::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::checks;
use crate::agent::Agent;
use crate::expect::{Expected, Finding, breach};

checks! {
    "3":
        a_caller_with_a_certificate_of_the_authority_is_served,
        a_caller_without_a_certificate_is_refused,
        a_caller_of_another_authority_is_refused,
        tls_1_2_is_refused,
        plain_http_is_not_served;
}

/// What says TLS says nothing of an agent that is tested without it.
fn secure(agent: &Agent) -> Expected {
    if agent.target.is_secure() {
        return Ok(());
    }
    Err(Finding::NotApplicable("the agent is reached over plain HTTP".to_owned()))
}

async fn a_caller_with_a_certificate_of_the_authority_is_served(agent: &Agent) -> Expected {
    secure(agent)?;
    agent.get("/healthz").await?.has_status(200).map(drop)
}

/// No request of this caller is answered.
async fn is_refused(agent: &Agent, who: &str, client: reqwest::Client) -> Expected {
    match client.get(agent.url("/healthz")).send().await {
        Err(_) => Ok(()),
        Ok(answer) => breach(format!("{who} is answered with status {}", answer.status().as_u16())),
    }
}

fn unusable(error: impl std::fmt::Display) -> Finding {
    Finding::Breach(format!("the caller's side cannot be made: {error}"))
}

async fn a_caller_without_a_certificate_is_refused(agent: &Agent) -> Expected {
    secure(agent)?;
    let nameless = agent.target.nameless(agent.address()).map_err(unusable)?;
    is_refused(agent, "a caller without a certificate", nameless).await
}

async fn a_caller_of_another_authority_is_refused(agent: &Agent) -> Expected {
    secure(agent)?;
    let foreign = Authority::create().and_then(|other| other.issue_client("runner")).map_err(unusable)?;
    let client = agent.target.secure(agent.address(), &foreign.cert_pem, &foreign.key_pem, &["h2", "http/1.1"]);
    is_refused(agent, "a caller of another authority", client.map_err(unusable)?).await
}

/// A greeting that offers nothing newer than TLS 1.2: RFC 5246, 7.4.1.2, with the extensions that a server of that version
/// needs to choose a curve and a signature.
const GREETING: &[u8] = &[
    22, 3, 1, 0, 79, // a handshake record of 79 bytes
    1, 0, 0, 75, // a client's hello of 75 bytes
    3, 3, // TLS 1.2
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, // random bytes
    0,  // no session
    0, 6, 0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0x9c, // ECDHE with ECDSA or RSA, or RSA, and AES-128-GCM
    1, 0, // no compression
    0, 28, // 28 bytes of extensions
    0, 10, 0, 6, 0, 4, 0, 23, 0, 24, // P-256, P-384
    0, 11, 0, 2, 1, 0, // uncompressed points
    0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1, // ECDSA, RSA-PSS and RSA with SHA-256
];
/// The kind of the record in which a server agrees to go on.
const HANDSHAKE: u8 = 22;

async fn tls_1_2_is_refused(agent: &Agent) -> Expected {
    secure(agent)?;
    match said(agent, GREETING).await?.first() {
        Some(&HANDSHAKE) => breach("a handshake of TLS 1.2 is answered"),
        Some(_) | None => Ok(()),
    }
}

async fn plain_http_is_not_served(agent: &Agent) -> Expected {
    secure(agent)?;
    let answer = said(agent, b"GET /healthz HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n").await?;
    let text = String::from_utf8_lossy(&answer);
    // The original answers in plain HTTP that it wants TLS.
    if text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.0 200") {
        return breach("a request without TLS is answered");
    }
    Ok(())
}

/// What the agent says to these bytes before it hangs up.
async fn said(agent: &Agent, bytes: &[u8]) -> Expected<Vec<u8>> {
    let unreachable = |e: std::io::Error| Finding::Breach(format!("the agent cannot be reached: {e}"));
    let mut stream = TcpStream::connect(agent.address()).await.map_err(unreachable)?;
    stream.write_all(bytes).await.map_err(unreachable)?;
    let mut answer = Vec::new();
    // A reset is a way to hang up.
    drop(stream.read_to_end(&mut answer).await);
    Ok(answer)
}
