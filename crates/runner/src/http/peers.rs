//! Identifies callers: programs of this machine, or its VMs.
//!
//! ```text
//! connections ─► asked ─► one question at a time, for all that wait ─► each connection's answer
//!      └─► meanwhile the handshake is made and the request is read; the guard waits for the answer before it is carried out
//! ```
//! Identification takes long on a loaded machine, and costs the same for one connection as for a thousand. With one lookup
//! for each connection, fast callers would wait longer and longer until they disconnect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{mpsc, oneshot};

/// Most connections in one lookup.
const BATCH: usize = 1024;
/// Most connections that wait for a lookup; further ones wait to be accepted.
const WAITING: usize = 1024;
/// Longest wait of a caller for its identification. After it, the caller is told to try again.
const WITHIN: Duration = Duration::from_secs(60);

/// The two ends of a connection that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The address of the caller's end.
    pub peer: SocketAddr,
    /// The address of the API's end.
    pub local: SocketAddr,
}

/// The holder of the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A program of this machine.
    Program,
    /// A VM.
    Vm,
    /// Nothing any more. It may have been either.
    Gone,
}

/// A lookup of the other ends of connections.
type Look = dyn Fn(&[Connection]) -> Vec<Peer> + Send + Sync;

/// Returns the holder of the other end of each connection, in their order. It may take long, and block.
#[derive(Clone)]
pub struct Peers(pub Arc<Look>);

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers(…)")
    }
}

/// The reason why a caller is not identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unidentified {
    /// The lookup took too long.
    TooLate,
    /// The lookup failed, which is a defect.
    LookupFailed,
}

/// The identity of a connection's caller, once known.
pub(super) type Caller = Shared<BoxFuture<'static, Result<Peer, Unidentified>>>;

/// Returns a caller whose address already identifies it.
pub(super) fn known() -> Caller {
    async { Ok(Peer::Program) }.boxed().shared()
}

type Question = (Connection, oneshot::Sender<Result<Peer, Unidentified>>);

/// Looks up the callers of connections.
#[derive(Clone)]
pub(super) struct Inquiry {
    asked: mpsc::Sender<Question>,
}

impl Inquiry {
    /// Starts the lookups. They end when the last clone is dropped.
    pub(super) fn start(peers: Peers) -> Self {
        let (asked, waiting) = mpsc::channel(WAITING);
        tokio::spawn(answer(peers, waiting));
        Self { asked }
    }

    /// Begins to identify the caller of a connection.
    pub(super) fn about(&self, connection: Connection) -> Caller {
        let asked = self.asked.clone();
        let found = async move {
            let (answer, answered) = oneshot::channel();
            // Both fail only when the task that answers has ended, which it does not while somebody may ask.
            asked.send((connection, answer)).await.map_err(|_| Unidentified::LookupFailed)?;
            answered.await.map_err(|_| Unidentified::LookupFailed)?
        };
        async { tokio::time::timeout(WITHIN, found).await.unwrap_or(Err(Unidentified::TooLate)) }.boxed().shared()
    }
}

async fn answer(peers: Peers, mut waiting: mpsc::Receiver<Question>) {
    let mut batch: Vec<Question> = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let connections: Vec<Connection> = batch.iter().map(|(connection, _)| *connection).collect();
        let peers = peers.clone();
        let looked = tokio::task::spawn_blocking(move || (peers.0)(&connections)).await;
        let found = looked.unwrap_or_else(|error| {
            tracing::error!(%error, "the lookup of callers failed, so they are refused");
            Vec::new()
        });
        let found = found.into_iter().map(Ok).chain(std::iter::repeat(Err(Unidentified::LookupFailed)));
        for ((_, answer), peer) in batch.drain(..).zip(found) {
            // The connection may have ended meanwhile.
            let _ = answer.send(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as blocking;

    use super::*;

    fn connection(port: u16) -> Connection {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Connection { peer: address(port), local: address(3000) }
    }

    #[tokio::test]
    async fn all_that_wait_share_a_question() {
        let (go, gate) = blocking::channel::<()>();
        let (gate, sizes) = (Mutex::new(gate), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&sizes);
        let inquiry = Inquiry::start(Peers(Arc::new(move |connections| {
            seen.lock().expect("lock").push(connections.len());
            gate.lock().expect("lock").recv().expect("the gate");
            connections.iter().map(|c| if c.peer.port() == 7 { Peer::Vm } else { Peer::Program }).collect()
        })));
        let first = inquiry.about(connection(1));
        let first = tokio::spawn(first);
        while sizes.lock().expect("lock").is_empty() {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (2..=170).map(|port| tokio::spawn(inquiry.about(connection(port)))).collect();
        while inquiry.asked.capacity() > WAITING - rest.len() {
            tokio::task::yield_now().await;
        }
        // There are only two lookups.
        go.send(()).expect("the question");
        go.send(()).expect("the question");
        assert_eq!(first.await.expect("no panic"), Ok(Peer::Program));
        for (port, answer) in (2..).zip(rest) {
            let expected = if port == 7 { Peer::Vm } else { Peer::Program };
            assert_eq!(answer.await.expect("no panic"), Ok(expected), "{port}");
        }
        assert_eq!(*sizes.lock().expect("lock"), [1, 169]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_fails_is_told_from_one_that_takes_too_long() {
        let inquiry = Inquiry::start(Peers(Arc::new(|_| panic!("a defect"))));
        assert_eq!(inquiry.about(connection(1)).await, Err(Unidentified::LookupFailed));
        let inquiry = Inquiry::start(Peers(Arc::new(|_| Vec::new())));
        assert_eq!(inquiry.about(connection(1)).await, Err(Unidentified::LookupFailed), "an answer is missing");
        let (asked, _kept) = mpsc::channel(1);
        assert_eq!(Inquiry { asked }.about(connection(1)).await, Err(Unidentified::TooLate), "after {WITHIN:?}");
    }
}
