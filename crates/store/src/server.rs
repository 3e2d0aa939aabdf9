//! A PostgreSQL server behind a network, which may stop answering without closing a connection.

use std::io;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// Most connections to the server.
const CONNECTIONS: u32 = 16;
/// How long a call waits for one of the connections.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time that a statement may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A server. Connections that no longer answer are replaced.
#[derive(Debug)]
pub(crate) struct Server {
    options: Box<PgConnectOptions>,
    answer_within: Duration,
    connections: RwLock<(PgPool, Instant)>,
}

impl Server {
    /// Makes the connections on demand.
    pub(crate) fn new(options: PgConnectOptions, answer_within: Duration) -> Self {
        // The server applies the limit as well, so that a statement does not wait for a lock after its caller gave up.
        let limit = format!("{}ms", answer_within.as_millis());
        let options = options.options([("statement_timeout", limit.as_str())]);
        let connections = RwLock::new((connect(&options), Instant::now()));
        Self { options: Box::new(options), answer_within, connections }
    }

    pub(crate) fn pool(&self) -> PgPool {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Returns the answer of a statement. When it takes too long, all connections are replaced.
    pub(crate) async fn answer<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        // This limit is a little longer than the server's, whose own message says more.
        match tokio::time::timeout(self.answer_within.mul_f64(1.2), work).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connect_again();
                let seconds = self.answer_within.as_secs_f64();
                let text = format!("the database server did not answer within {seconds} s");
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
    }

    /// Replaces all connections. The kernel gives up a silent one only after a quarter of an hour. Connections that
    /// still answer are closed when their work has ended.
    fn connect_again(&self) {
        let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        // Many calls fail at the same time, so a pool that has just been replaced stays.
        if connections.1.elapsed() >= self.answer_within {
            *connections = (connect(&self.options), Instant::now());
        }
    }
}

fn connect(options: &PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECTION_TIMEOUT);
    pool.connect_lazy_with(options.clone())
}
