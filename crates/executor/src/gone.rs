//! The news that a stage's instance has ended by itself, for everyone who waits for something inside it.

use tokio::sync::watch;

/// The end of an instance. It is told once, and everybody hears it, whenever they ask.
pub struct Gone {
    sender: watch::Sender<Option<String>>,
}

impl Gone {
    /// Nothing has ended yet.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: watch::channel(None).0 }
    }

    /// Tells everyone, with the evidence.
    pub fn tell(&self, evidence: String) {
        self.sender.send_replace(Some(evidence));
    }

    /// Returns whether the end was told.
    pub fn is_told(&self) -> bool {
        self.sender.borrow().is_some()
    }

    /// Returns the evidence once there is some.
    pub async fn wait(&self) -> String {
        let mut receiver = self.sender.subscribe();
        loop {
            if let Some(evidence) = receiver.borrow_and_update().clone() {
                return evidence;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in self, so this cannot be; never ending is the honest answer.
                std::future::pending::<()>().await;
            }
        }
    }
}
