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
    /// How often the connections were cut.
    cuts: u64,
    /// Whether new ones are passed on.
    open: bool,
}

impl Link {
    /// Listens on a free port and passes everything on to `to`.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State { cuts: 0, open: true }));
        // It ends with the test's runtime.
        tokio::spawn(listen(listener, to, state.clone()));
        Self { address, state }
    }

    /// Ends every connection. New ones are made as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends every connection, and each new one at once.
    pub fn close(&self) {
        self.state.send_modify(|state| *state = State { cuts: state.cuts + 1, open: false });
    }

    /// Passes new connections on again.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }
}

async fn listen(listener: TcpListener, to: SocketAddr, state: Arc<watch::Sender<State>>) {
    while let Ok((from, _)) = listener.accept().await {
        let mut state = state.subscribe();
        let State { cuts, open } = *state.borrow_and_update();
        if open {
            tokio::spawn(async move {
                tokio::select! {
                    () = pass_on(from, to) => {}
                    // Without a sender the test is at its end.
                    _ = state.wait_for(|now| now.cuts > cuts) => {}
                }
            });
        }
    }
}

/// Passes one connection on to its end. How it ended is for those at its ends to tell.
async fn pass_on(mut from: TcpStream, to: SocketAddr) {
    if let Ok(mut to) = TcpStream::connect(to).await {
        drop((from.set_nodelay(true), to.set_nodelay(true)));
        drop(copy_bidirectional(&mut from, &mut to).await);
    }
}
