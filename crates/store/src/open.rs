//! Opens a database: its connections and its schema.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::checkpoints::Checkpoints;
use crate::database::{Connections, Database};
use crate::place::Place;
use crate::reserve::{RESERVE_BYTES, Reserve};
use crate::server::{ANSWER_WITHIN, Server};
use crate::wal::WalSync;
use crate::writes::Writes;
use crate::{OpenError, migrations};

/// How long SQLite waits for the write lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a call waits for a connection of this process.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the first connection to a server may take.
const FIRST_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read SQLite.
const SQLITE_READERS: u32 = 4;
/// Number of rows that SQLite's thread reads ahead. With few, it and the reader wait for each other at every row.
const ROWS_AHEAD: usize = 1024;
/// Number of attempts to bring the schema up to date. An attempt fails when another process creates the same file at
/// the same time.
const MIGRATION_TRIES: u32 = 20;
/// Pause between two such attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens the database and brings its schema to the newest version.
pub(crate) async fn database(place: &Place) -> Result<Database, OpenError> {
    match place {
        Place::File { path, survives_power_cut } => file(place, path, *survives_power_cut).await,
        Place::Memory => memory(place).await,
        Place::Server(options) => server(place, options).await,
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // A connection to a file does not break, so it needs no test and is never closed for its age.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(CONNECTION_TIMEOUT)
}

/// Replaces a connection whose transaction could not be ended. SQLite ends a transaction by itself after some errors,
/// such as a full disk. Rolling back then fails, and `sqlx` believes for ever that the connection is within a
/// transaction.
fn without_remains(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.after_release(|connection, _| {
        Box::pin(async move {
            if connection.is_in_transaction() {
                // A rollback may be under way; the answer arrives after it.
                connection.ping().await?;
            }
            Ok(!connection.is_in_transaction())
        })
    })
}

async fn file(place: &Place, path: &Path, survives_power_cut: bool) -> Result<Database, OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(OpenError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        // The log gives back the room that it got on a full disk.
        .pragma("journal_size_limit", RESERVE_BYTES.to_string())
        .row_buffer_size(ROWS_AHEAD);
    let wal = WalSync::new(PathBuf::from(format!("{}-wal", path.display())));
    let connect = |error| connect_error(place, error);
    let writer = connect_patiently(without_remains(pool(1)), &options).await.map_err(connect)?;
    migrate_sqlite(place, &writer).await?;
    let checkpoints = Some(Checkpoints::new(pool(1).connect_lazy_with(options.clone())));
    let readers = connect_patiently(pool(SQLITE_READERS), &options.read_only(true)).await.map_err(connect)?;
    let wal = survives_power_cut.then_some(wal);
    if let Some(wal) = &wal {
        wal.sync_folder(folder).await.map_err(|error| connect(sqlx::Error::Io(error)))?;
    }
    let connections = Connections::Sqlite { writer, readers, wal, checkpoints };
    Ok(Database { connections, writes: Writes::new(Reserve::keep(path)), clock: OnceLock::new() })
}

async fn memory(place: &Place) -> Result<Database, OpenError> {
    let options = SqliteConnectOptions::new().filename(":memory:").row_buffer_size(ROWS_AHEAD);
    let writer = pool(1).connect_with(options).await.map_err(|error| connect_error(place, error))?;
    migrate_sqlite(place, &writer).await?;
    let connections = Connections::Sqlite { readers: writer.clone(), writer, wal: None, checkpoints: None };
    Ok(Database { connections, writes: Writes::default(), clock: OnceLock::new() })
}

/// Connects, and retries while another process creates the file: SQLite then reports at once that it is locked,
/// whatever its busy timeout.
async fn connect_patiently(
    pool: SqlitePoolOptions,
    options: &SqliteConnectOptions,
) -> Result<sqlx::SqlitePool, sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_locked(&error) && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}

async fn migrate_sqlite(place: &Place, writer: &sqlx::SqlitePool) -> Result<(), OpenError> {
    let (deadline, mut tries) = (Instant::now() + BUSY_TIMEOUT, 0);
    loop {
        tries += 1;
        match migrations::sqlite().run(writer).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))
                if tries < MIGRATION_TRIES || is_locked(&error) && Instant::now() < deadline =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(migrate_error(place, error)),
        }
    }
}

/// Tells whether another process holds the file: SQLite's codes `BUSY` and `LOCKED`, and their extended codes.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

async fn server(place: &Place, options: &PgConnectOptions) -> Result<Database, OpenError> {
    let options = options.clone().application_name("kiln");
    // The pool would try to reach a dead server again and again, and then not say why it failed.
    let first = tokio::time::timeout(FIRST_CONNECTION_TIMEOUT, PgConnection::connect_with(&options)).await;
    let first = first.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
    first.map_err(|error| connect_error(place, error))?.close().await.map_err(|error| connect_error(place, error))?;
    // A migration may take long.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let migrated = migrations::postgres().run(&pool).await;
    pool.close().await;
    migrated.map_err(|error| migrate_error(place, error))?;
    let connections = Connections::Postgres(Server::new(options, ANSWER_WITHIN));
    Ok(Database { connections, writes: Writes::default(), clock: OnceLock::new() })
}

/// Tells whether TLS refused the server, or the server refused TLS. A refusal by rustls arrives as invalid data.
fn is_untrusted(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

fn connect_error(place: &Place, source: sqlx::Error) -> OpenError {
    let advice = match place {
        Place::Server(_) if is_untrusted(&source) => {
            "It is not shown to be that server. Add sslrootcert=FILE to the URL, with the certificate of the authority that \
             signed the server's, or sslmode=require to encrypt without knowing who the server is, or sslmode=disable"
        }
        Place::Server(_) => {
            "Does the server run and accept connections from here, and are user, password and database right?"
        }
        _ => "May this user read and write the file and its folder, and is it a database of this program?",
    };
    OpenError::Connect { place: place.to_string(), source: Box::new(source), advice }
}

fn migrate_error(place: &Place, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(found) => {
            OpenError::Newer { place: place.to_string(), found, known: migrations::newest() }
        }
        MigrateError::Execute(source) => connect_error(place, source),
        source => OpenError::Schema { place: place.to_string(), source: Box::new(source) },
    }
}
