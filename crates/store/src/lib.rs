//! The rows of the runner in SQLite or PostgreSQL, with one SQL text for both.
//!
//! ```text
//! Store (engine) ─► statements ─► Session, Row ─┬─► SQLite: one connection writes, some read
//!                                               └─► PostgreSQL: read committed, compare-and-swap
//! ```
//! Rules that every statement keeps:
//! - A change of a row names the generation that it was made from. If the row has another one, nothing is changed.
//! - Instances are changed before stages, and the timeline last, so that no two transactions wait for each other.
//! - A transaction awaits nothing but the database.
//! - The database itself refuses a stage with two instances and an instance with two stages.
//!
//! A write is visible when its call returns, and survives the death of the process. [`SqlStore`]'s `flush` makes it
//! survive a power cut, unless the URL says `sync=off`: without that an instance whose claim was lost would be given to a
//! second stage. A pass goes on meanwhile, because a flush waits for all that VMs write to the same disk.

mod changes;
mod checkpoints;
mod claim;
mod claims;
mod database;
mod error;
mod fault;
mod fleet;
mod grouped;
mod instances;
mod leases;
mod migrations;
mod open;
mod place;
#[cfg(all(unix, feature = "testing"))]
pub mod postgres_for_tests;
mod reserve;
mod rows;
mod server;
mod stages;
mod store;
#[cfg(test)]
mod tests;
mod unreadable;
mod updates;
mod wal;
mod writes;

use std::sync::Arc;

use kiln_engine::world::StoreError;

pub use error::OpenError;
pub use migrations::newest as newest_schema;

use crate::claims::Claim;
use crate::database::{Clock, Connections, Database};
use crate::grouped::Queue;
use crate::unreadable::Unreadable;
use crate::updates::Update;
use crate::writes::Room;

/// The rows of one database.
#[derive(Debug)]
pub struct SqlStore {
    database: Arc<Database>,
    updates: Queue<Update>,
    claims: Queue<Claim>,
    unreadable: Unreadable,
    /// Permits for new stages of this process to claim concurrently. Further claims would only wait for each other's
    /// rows in the database.
    turns: tokio::sync::Semaphore,
}

/// Number of [`SqlStore::turns`]. It is more than one, so that a server's network and disk serve several claims at a
/// time.
const CLAIMS_AT_ONCE: usize = 4;

/// An opened database.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its rows.
    pub store: Arc<SqlStore>,
    /// The id of this installation: a UUID that was created with the database.
    pub installation: String,
}

/// Opens `sqlite:PATH`, `sqlite:PATH?sync=off`, `sqlite::memory:` or `postgres://…`, and brings its schema up to date.
/// A file that does not exist is created.
///
/// With `sync=off`, a power cut may undo the latest changes; the death of the process does not.
///
/// # Errors
/// When the URL is none of these, the database cannot be opened, or a newer program wrote it.
pub async fn open(url: &str) -> Result<Opened, OpenError> {
    let place = place::Place::parse(url)?;
    let turns = tokio::sync::Semaphore::new(CLAIMS_AT_ONCE);
    let database = Arc::new(open::database(&place).await?);
    let (updates, claims) = (Queue::begin(Arc::clone(&database)), Queue::begin(Arc::clone(&database)));
    let store = SqlStore { updates, claims, database, turns, unreadable: Unreadable::default() };
    let mine = uuid::Uuid::new_v4().to_string();
    let installation = store.remember("installation", &mine).await?;
    Ok(Opened { store: Arc::new(store), installation })
}

impl SqlStore {
    /// Waits for one of the turns. The semaphore is never closed.
    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Stores a value under a name unless there is one, and returns the stored one. So a value of the first runner,
    /// such as the fingerprint of its CA, also holds for the next one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember(&self, name: &str, value: &str) -> Result<String, StoreError> {
        self.write_once(name, value).await.map_err(|fault| fault.during(&format!("remember the {name}")))
    }

    /// Dates the timeline by this clock from now on, in milliseconds since 1970. Only the first call has an effect.
    pub fn date_by(&self, now_ms: impl Fn() -> i64 + Send + Sync + 'static) {
        // Later clocks are ignored: two clocks could disagree.
        let _ = self.database.clock.set(Clock(Box::new(now_ms)));
    }

    /// Runs one statement in a transaction of its own.
    async fn write(
        &self,
        room: Room,
        sql: &'static str,
        values: &[crate::database::Value<'_>],
    ) -> Result<(), crate::fault::Fault> {
        let mut session = self.database.write(room).await?;
        session.execute(sql, values).await?;
        session.commit().await
    }

    /// Waits for running statements and closes all connections, so that SQLite tidies up its log. Durability does not
    /// need it.
    pub async fn close(&self) {
        match &self.database.connections {
            Connections::Sqlite { writer, readers, checkpoints, .. } => {
                readers.close().await;
                if let Some(checkpoints) = checkpoints {
                    checkpoints.close().await;
                }
                writer.close().await;
            }
            Connections::Postgres(server) => server.pool().close().await,
        }
    }
}
