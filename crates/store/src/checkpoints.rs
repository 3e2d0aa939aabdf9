//! Moves SQLite's log into the database beside the commits.
//!
//! By itself SQLite does that within the commit that makes the log long. That flushes the disk twice, and all writes wait
//! for it: 100 to 200 ms on a disk that VMs write to. Here another connection does it while commits go on. SQLite's own
//! limit stays: it bounds the log when the disk is full or commits come faster than this, and little is left to move then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sqlx::SqlitePool;

/// Commits between two moves: about a quarter of the 1000 pages at which SQLite moves the log within a commit.
pub(crate) const COMMITS: u32 = 32;

/// The moves of one database's log.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    connection: SqlitePool,
    /// Commits since the last move began.
    commits: AtomicU32,
    under_way: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Moves the log by this connection, which nothing else uses.
    pub(crate) fn new(connection: SqlitePool) -> Self {
        Self { connection, commits: AtomicU32::new(0), under_way: Arc::default() }
    }

    /// Notes a commit. Every so often it starts a move and does not wait for it.
    pub(crate) fn note_commit(&self) {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if commits < COMMITS || self.under_way.swap(true, Ordering::Relaxed) {
            return;
        }
        self.commits.store(0, Ordering::Relaxed);
        let (connection, under_way) = (self.connection.clone(), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            match sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&connection).await {
                Ok(_) | Err(sqlx::Error::PoolClosed) => {}
                Err(error) => {
                    tracing::info!(%error, "the database's log could not be moved into it; it is tried again")
                }
            }
            under_way.store(false, Ordering::Relaxed);
        });
    }

    /// Waits for a move that is under way and closes the connection.
    pub(crate) async fn close(&self) {
        self.connection.close().await;
    }
}
