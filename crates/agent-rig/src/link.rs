//! A way to an agent that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to an agent, until it is cut.
#[derive(Clone)]
pub struct Link {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy)]
struct State {
    /// Where connections lead.
    to: SocketAddr,
    /// How often the connections were cut.
    cuts: u64,
    /// How many of the next ones are ended at once.
    refused: u64,
    /// Whether nothing passes.
    still: bool,
}

impl Link {
    /// Listens on a free port and passes everything on to `to`.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State { to, cuts: 0, refused: 0, still: false }));
        // It ends with the test's runtime.
        tokio::spawn(listen(listener, state.clone()));
        Self { address, state }
    }

    /// Ends every connection. New ones are made as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends every connection, and so many of the next ones at once.
    pub fn refuse(&self, connections: u64) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            state.refused = connections;
        });
    }

    /// Leads new connections elsewhere, and refuses none of them.
    pub fn lead_to(&self, to: SocketAddr) {
        self.state.send_modify(|state| (state.to, state.refused) = (to, 0));
    }

    /// Lets nothing pass any more. Connections stay open, as those of a machine that stands still.
    pub fn stand_still(&self) {
        self.state.send_modify(|state| state.still = true);
    }

    /// Ends every connection, and each new one at once.
    pub fn close(&self) {
        self.refuse(u64::MAX);
    }
}

async fn listen(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    while let Ok((from, _)) = listener.accept().await {
        let State { to, cuts, refused, .. } = *state.borrow();
        if refused > 0 {
            state.send_modify(|state| state.refused = state.refused.saturating_sub(1));
            continue;
        }
        let mut state = state.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = pass_on(from, to, state.clone()) => {}
                // Without a sender the test is at its end.
                _ = state.wait_for(|now| now.cuts > cuts) => {}
            }
        });
    }
}

/// Passes one connection on to its end. How it ended is for those at its ends to tell.
async fn pass_on(mut from: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(mut to) = TcpStream::connect(to).await else { return };
    drop((from.set_nodelay(true), to.set_nodelay(true)));
    tokio::select! {
        biased;
        _ = state.wait_for(|now| now.still) => {}
        _ = copy_bidirectional(&mut from, &mut to) => return,
    }
    // Both ends stay open until the connection is cut.
    std::future::pending().await
}
