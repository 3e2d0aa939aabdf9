//! Both databases behind one interface: statements with `$1`, values, rows. All differences between SQLite and
//! PostgreSQL are here, in [`crate::open`] and in `migrations/`.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Postgres, Row as _, Sqlite};

use crate::checkpoints::Checkpoints;
use crate::fault::Fault;
use crate::server::Server;
use crate::wal::WalSync;
use crate::writes::{Room, Writes};

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    /// Its connections.
    pub(crate) connections: Connections,
    /// The state of its writes, and the room that they may use.
    pub(crate) writes: Writes,
    /// The clock that dates the timeline; the wall clock until it is set.
    pub(crate) clock: OnceLock<Clock>,
}

/// Returns the time, in milliseconds since 1970.
pub(crate) struct Clock(pub(crate) Box<dyn Fn() -> i64 + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The connections to a database.
#[derive(Debug)]
pub(crate) enum Connections {
    /// SQLite: one connection writes, so that writers queue fairly here instead of in SQLite's busy loop, and some
    /// read.
    Sqlite {
        /// The connection that writes.
        writer: sqlx::SqlitePool,
        /// The connections that read; for a database in memory, the same as `writer`.
        readers: sqlx::SqlitePool,
        /// Makes commits survive a power cut; none where the URL says `sync=off`.
        wal: Option<WalSync>,
        /// Keeps the log short; none for a database in memory.
        checkpoints: Option<Checkpoints>,
    },
    /// PostgreSQL.
    Postgres(Server),
}

/// A transaction that may write. Dropped without a commit, it is rolled back.
pub(crate) struct Session<'d> {
    transaction: Transaction<'d>,
    writes: &'d Writes,
    /// When the transaction began, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

enum Transaction<'d> {
    Sqlite(sqlx::Transaction<'static, Sqlite>, Option<&'d WalSync>, Option<&'d Checkpoints>),
    Postgres(sqlx::Transaction<'static, Postgres>, &'d Server),
}

/// A parameter of a statement.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Int(Option<i64>),
}

impl<'a> From<&'a str> for Value<'a> {
    /// Replaces NULs by a visible character: PostgreSQL has no text with NULs, and console output has them.
    fn from(text: &'a str) -> Self {
        Self::Text(Some(if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(if text.contains('\0') { text.replace('\0', "\u{2400}") } else { text }.into()))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Text(None), Self::from)
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Text(None), Self::from)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

/// Makes an array of parameters of different types.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::database::Value::from($value)),*] };
}
pub(crate) use values;

/// A row of an answer; columns are counted from 0.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<String, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Returns a number that must fit into 32 bits.
    pub(crate) fn small(&self, column: usize) -> Result<u32, Fault> {
        let number = self.int(column)?;
        u32::try_from(number).map_err(|error| Fault::Statement(sqlx::Error::Decode(error.into())))
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// Binds parameters to a statement of whichever database the context asks for.
macro_rules! query {
    ($sql:expr, $values:expr) => {
        $values.iter().fold(sqlx::query($sql), |query, value| match value {
            Value::Text(text) => query.bind(text.as_deref()),
            Value::Int(number) => query.bind(*number),
        })
    };
}

impl Database {
    /// Begins a transaction. On SQLite it is the only writing transaction of all processes.
    pub(crate) async fn write(&self, room: Room) -> Result<Session<'_>, Fault> {
        self.writes.may_begin(room)?;
        let transaction = self.writes.note(self.connections.begin().await)?;
        Ok(Session { transaction, writes: &self.writes, at_ms: self.now_ms() })
    }

    /// Returns when all commits made so far survive a power cut.
    pub(crate) async fn flush(&self) -> Result<(), Fault> {
        match &self.connections {
            Connections::Sqlite { wal: Some(wal), .. } => self.writes.note(wal.sync().await),
            // Nobody wants the commits to survive, or PostgreSQL has flushed each of them.
            Connections::Sqlite { wal: None, .. } | Connections::Postgres(_) => Ok(()),
        }
    }

    /// Returns the time, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        match self.clock.get() {
            Some(clock) => clock.0(),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }

    /// Returns the rows of a query, outside of any transaction.
    pub(crate) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        Ok(match &self.connections {
            Connections::Sqlite { readers, .. } => {
                query!(sql, values).fetch_all(readers).await?.into_iter().map(Row::Sqlite).collect()
            }
            Connections::Postgres(server) => {
                let rows = server.answer(query!(sql, values).fetch_all(&server.pool())).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Returns the only row of a query.
    pub(crate) async fn row(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, values).await?.pop())
    }

    /// Tells whether a change may become visible after one with a greater `seq`.
    pub(crate) fn commits_out_of_order(&self) -> bool {
        matches!(self.connections, Connections::Postgres(_))
    }
}

impl Connections {
    async fn begin(&self) -> Result<Transaction<'_>, Fault> {
        Ok(match self {
            Self::Sqlite { writer, wal, checkpoints, .. } => {
                wal.as_ref().map_or(Ok(()), WalSync::check)?;
                let begun = writer.begin_with("BEGIN IMMEDIATE").await?;
                Transaction::Sqlite(begun, wal.as_ref(), checkpoints.as_ref())
            }
            // The statements are written for this isolation level, whatever the server's default is.
            Self::Postgres(server) => {
                let pool = server.pool();
                let begun = server.answer(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED"));
                Transaction::Postgres(begun.await?, server)
            }
        })
    }
}

impl Session<'_> {
    /// Tells whether other transactions may write at the same time.
    pub(crate) fn has_rivals(&self) -> bool {
        matches!(self.transaction, Transaction::Postgres(..))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Fault> {
        let done = self.transaction.execute(sql, values).await;
        self.writes.note(done)
    }

    /// Runs a statement and returns its only row, if there is one.
    pub(crate) async fn row(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, Fault> {
        let row = self.transaction.row(sql, values).await;
        self.writes.note(row)
    }

    /// Commits the transaction. Others see its changes when this returns; [`Database::flush`] makes them durable.
    pub(crate) async fn commit(self) -> Result<(), Fault> {
        self.writes.note(self.transaction.commit().await)?;
        self.writes.note_commit();
        Ok(())
    }

    /// Rolls the transaction back.
    pub(crate) async fn roll_back(self) -> Result<(), Fault> {
        match self.transaction {
            Transaction::Sqlite(session, ..) => session.rollback().await?,
            Transaction::Postgres(session, server) => server.answer(session.rollback()).await?,
        }
        Ok(())
    }
}

impl Transaction<'_> {
    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Fault> {
        Ok(match self {
            Self::Sqlite(session, ..) => query!(sql, values).execute(&mut **session).await?.rows_affected(),
            Self::Postgres(session, server) => {
                server.answer(query!(sql, values).execute(&mut **session)).await?.rows_affected()
            }
        })
    }

    async fn row(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, Fault> {
        // All rows are read, because an UPDATE in SQLite is only done when its last row was read.
        Ok(match self {
            Self::Sqlite(session, ..) => query!(sql, values).fetch_all(&mut **session).await?.pop().map(Row::Sqlite),
            Self::Postgres(session, server) => {
                server.answer(query!(sql, values).fetch_all(&mut **session)).await?.pop().map(Row::Postgres)
            }
        })
    }

    async fn commit(self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(session, wal, checkpoints) => {
                session.commit().await.map_err(Fault::committing)?;
                if let Some(checkpoints) = checkpoints {
                    checkpoints.note_commit();
                }
                if let Some(wal) = wal {
                    wal.note_commit();
                }
                Ok(())
            }
            Self::Postgres(session, server) => server.answer(session.commit()).await.map_err(Fault::committing),
        }
    }
}
