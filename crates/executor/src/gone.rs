//! Tells all who wait for something in an instance that the instance has ended by itself.

use tokio::sync::watch;

/// The end of an instance. It is told once, and whoever waits for it later learns of it too.
pub struct Gone {
    sender: watch::Sender<Option<String>>,
}

impl Gone {
    /// Makes the end of an instance that still lives.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: watch::channel(None).0 }
    }

    /// Tells that the instance ended, with the evidence.
    pub fn tell(&self, evidence: String) {
        self.sender.send_replace(Some(evidence));
    }

    /// Returns whether the end was told.
    pub fn is_told(&self) -> bool {
        self.sender.borrow().is_some()
    }

    /// Waits for the end, and returns the evidence.
    pub async fn wait(&self) -> String {
        let mut receiver = self.sender.subscribe();
        loop {
            if let Some(evidence) = receiver.borrow_and_update().clone() {
                return evidence;
            }
            if receiver.changed().await.is_err() {
                // This does not happen, because the sender lives in self.
                std::future::pending::<()>().await;
            }
        }
    }
}
