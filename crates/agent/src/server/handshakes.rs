//! Peers that have not proven who they are.
//!
//! Whoever reaches the port can open connections and say nothing. So peers that are still unknown have places of their
//! own, and never take those of proven ones; when all are taken, the newest peer is heard and the one that has waited
//! longest is cut off, first one that has said nothing at all. A peer with a certificate is done in some milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// Handshakes at a time: twice as many as the transfers that a client of ours begins at once.
pub(super) const MOST: usize = 256;

/// The handshakes that are under way, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    begun: u64,
    by_age: BTreeMap<u64, Peer>,
}

#[derive(Debug)]
struct Peer {
    spoke: bool,
    cut: CancellationToken,
}

/// A handshake that is under way as long as this lives.
pub(super) struct Handshake {
    all: Arc<Handshakes>,
    number: u64,
    cut: CancellationToken,
}

impl Handshakes {
    /// Begins one; cuts another off when there are too many.
    pub(super) fn begin(self: &Arc<Self>) -> Handshake {
        let cut = CancellationToken::new();
        let mut under_way = lock(&self.under_way);
        if under_way.by_age.len() >= MOST {
            let silent = under_way.by_age.iter().find(|(_, peer)| !peer.spoke).map(|(number, _)| *number);
            let cut_off = silent.or_else(|| under_way.by_age.keys().next().copied());
            if let Some(peer) = cut_off.and_then(|number| under_way.by_age.remove(&number)) {
                peer.cut.cancel();
            }
        }
        under_way.begun += 1;
        let number = under_way.begun;
        under_way.by_age.insert(number, Peer { spoke: false, cut: cut.clone() });
        Handshake { all: Arc::clone(self), number, cut }
    }
}

impl Handshake {
    /// The peer said something.
    pub(super) fn spoke(&self) {
        if let Some(peer) = lock(&self.all.under_way).by_age.get_mut(&self.number) {
            peer.spoke = true;
        }
    }

    /// Returns when it is cut off, for others.
    pub(super) async fn cut_off(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        lock(&self.all.under_way).by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Which of them were cut off.
    fn cut(peers: &[Handshake]) -> Vec<usize> {
        let cut = |peer: &Handshake| peer.cut_off().now_or_never().is_some();
        peers.iter().enumerate().filter_map(|(n, peer)| cut(peer).then_some(n)).collect()
    }

    #[test]
    fn the_oldest_silent_peer_makes_room_and_then_the_oldest() {
        let all = Arc::new(Handshakes::default());
        let mut peers: Vec<Handshake> = (0..MOST).map(|_| all.begin()).collect();
        peers[0].spoke();
        assert!(cut(&peers).is_empty());
        peers.push(all.begin());
        assert_eq!(cut(&peers), [1]);
        peers.iter().for_each(Handshake::spoke);
        peers.push(all.begin());
        assert_eq!(cut(&peers)[0], 0);
    }

    #[test]
    fn a_handshake_that_ends_leaves_its_place() {
        let all = Arc::new(Handshakes::default());
        let first = all.begin();
        for _ in 0..MOST * 3 {
            drop(all.begin());
        }
        assert!(first.cut_off().now_or_never().is_none());
    }
}
