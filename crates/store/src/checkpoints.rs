//! Moves SQLite's log into the database beside the commits.
//!
//! By itself SQLite does that within the commit that makes the log long. That flushes the disk twice, and all writes wait
//! for it: 100 to 200 ms on a disk that VMs write to. Here another connection does it while commits go on. It never
//! empties the log while they go on, though, so when the log is long all the same, the rest, which is little by then, is
//! moved while no write is under way: the next write then begins the log anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sqlx::{Row as _, SqlitePool};

/// Commits between two moves.
const COMMITS: u32 = 64;
/// Pages of a long log; a page has 4 KiB. SQLite's own limit is 1000.
pub(crate) const LONG: i64 = 2_000;
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The moves of one database's log.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    aside: SqlitePool,
    writer: SqlitePool,
    /// Commits since the last move began.
    commits: AtomicU32,
    under_way: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Moves by the connection of `aside`, and what is left of a long log by that of `writer`.
    pub(crate) fn new(aside: SqlitePool, writer: SqlitePool) -> Self {
        Self { aside, writer, commits: AtomicU32::new(0), under_way: Arc::default() }
    }

    /// Notes a commit. Every so often it starts a move and does not wait for it.
    pub(crate) fn note_commit(&self) {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if commits < COMMITS || self.under_way.swap(true, Ordering::Relaxed) {
            return;
        }
        self.commits.store(0, Ordering::Relaxed);
        let (aside, writer, under_way) = (self.aside.clone(), self.writer.clone(), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            if let Err(error) = empty(&aside, &writer).await {
                tracing::info!(%error, "the database's log could not be moved into it; it is tried again");
            }
            under_way.store(false, Ordering::Relaxed);
        });
    }

    /// Waits for a move that is under way and closes its connection.
    pub(crate) async fn close(&self) {
        self.aside.close().await;
    }
}

async fn empty(aside: &SqlitePool, writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let pages: i64 = sqlx::query(MOVE).fetch_one(aside).await?.try_get(1)?;
    if pages > LONG {
        sqlx::query(MOVE).fetch_one(writer).await?;
    }
    Ok(())
}
