//! The checks of databases, beside those that every store has to pass.

mod contention;
mod restart;

use std::sync::Arc;

use futures::future::BoxFuture;
use kiln_engine::conformance;
use kiln_engine::world::Store;
use kiln_store::SqlStore;

/// An empty database.
#[derive(Clone)]
pub struct Database {
    pub url: String,
}

impl Database {
    /// Opens it as another runner would.
    pub async fn open(&self) -> Arc<SqlStore> {
        kiln_store::open(&self.url).await.unwrap().store
    }
}

impl conformance::Backend for Database {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { Self::open(self).await as Arc<dyn Store> })
    }
}

/// A database in memory. All runners of a process share it.
pub struct Memory(pub Arc<SqlStore>);

impl conformance::Backend for Memory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        let store: Arc<dyn Store> = self.0.clone();
        Box::pin(async { store })
    }
}

type Check = fn(Database) -> BoxFuture<'static, ()>;

/// Checks for databases only. Each gets a database of its own.
pub const CHECKS: &[(&str, Check)] = &[
    ("many_claimers_never_share_an_instance", |database| {
        Box::pin(contention::many_claimers_never_share_an_instance(database))
    }),
    ("what_is_remembered_stays", |database| Box::pin(restart::what_is_remembered_stays(database))),
    ("nuls_come_back_as_signs", |database| Box::pin(restart::nuls_come_back_as_signs(database))),
    ("all_is_there_after_another_start", |database| Box::pin(restart::all_is_there_after_another_start(database))),
];
