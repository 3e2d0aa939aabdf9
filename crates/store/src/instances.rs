//! Statements about instances.

use kiln_engine::world::Limits;
use kiln_pool::{Instance, Subject};

use crate::SqlStore;
use crate::changes::{self, Entry};
use crate::database::{Session, values};
use crate::fault::Fault;
use crate::rows::{self, instance_columns, instance_parameters, instance_values};
use crate::unreadable::readable;
use crate::writes::Room;

pub(crate) const LIVE: &str =
    concat!("SELECT ", instance_columns!(), " FROM instances WHERE state <> 'gone' ORDER BY created_ms, id");
pub(crate) const ONE: &str = concat!("SELECT ", instance_columns!(), " FROM instances WHERE id = $1");
const NEWEST: &str =
    concat!("SELECT ", instance_columns!(), " FROM instances ORDER BY created_ms DESC, id DESC LIMIT $1");

/// Takes a lock: waits for the end of other transactions that hold it. Their writes are visible to the next statement.
const LOCK: &str = "INSERT INTO locks (name, taken) VALUES ($1, 1) \
                    ON CONFLICT (name) DO UPDATE SET taken = locks.taken + 1";
pub(crate) const INSERT: &str = concat!(
    "INSERT INTO instances (",
    instance_columns!(),
    ") SELECT ",
    instance_parameters!(),
    " WHERE (SELECT count(*) FROM instances WHERE pool = $2 AND state <> 'gone') < $28 \
     AND (SELECT count(*) FROM instances WHERE pool = $2 AND flavor = $3 AND state <> 'gone') < $29 \
     ON CONFLICT (id) DO NOTHING"
);
pub(crate) const UPDATE: &str = concat!(
    "UPDATE instances SET (",
    instance_columns!(),
    ") = (",
    instance_parameters!(),
    ") WHERE id = $1 AND generation = $8 - 1"
);

/// Takes a lock until the end of the transaction. Does nothing on SQLite, which has one writer at a time anyway.
pub(crate) async fn lock(session: &mut Session<'_>, name: &str) -> Result<(), Fault> {
    if !session.has_rivals() {
        return Ok(());
    }
    session.execute(LOCK, &values![name]).await.map(drop)
}

impl SqlStore {
    pub(crate) async fn read_live_instances(&self) -> Result<Vec<Instance>, Fault> {
        self.unreadable.set_aside(Subject::Instance, &self.database.rows(LIVE, &[]).await?, rows::instance)
    }

    pub(crate) async fn read_newest_instances(&self, limit: u32) -> Result<Vec<Instance>, Fault> {
        Ok(readable(&self.database.rows(NEWEST, &values![i64::from(limit)]).await?, rows::instance))
    }

    pub(crate) async fn read_instance(&self, id: &str) -> Result<Option<Instance>, Fault> {
        self.database.row(ONE, &values![id]).await?.as_ref().map(rows::instance).transpose()
    }

    /// Inserts all rows of a batch, or none when that would exceed a limit. Returns whether it inserted them.
    pub(crate) async fn insert(&self, rows: &[Instance], limits: Limits, reason: &str) -> Result<bool, Fault> {
        let Some(first) = rows.first() else { return Ok(true) };
        let mut session = self.database.write(Room::Free).await?;
        lock(&mut session, &format!("pool {}", first.pool)).await?;
        for row in rows {
            let limits = values![i64::from(limits.pool), limits.flavor.map_or(i64::MAX, i64::from)];
            let values: Vec<_> = instance_values(row).into_iter().chain(limits).collect();
            if session.execute(INSERT, &values).await? == 0 {
                session.roll_back().await?;
                return Ok(false);
            }
        }
        let entries: Vec<Entry<'_>> = rows.iter().map(|row| Entry::instance(row, reason)).collect();
        changes::write(&mut session, &entries).await?;
        session.commit().await?;
        Ok(true)
    }
}
