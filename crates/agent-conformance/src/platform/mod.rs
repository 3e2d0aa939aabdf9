//! Services that agents speak to: a log service with a store of objects, one for annotations, one for tokens. They are
//! strict: what the protocol does not allow is a fault, and is kept as such.
//!
//! They can be unwell ([`Health`]), so that tests see what becomes of what an agent sends meanwhile.

mod logs;
mod others;
mod record;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use others::{Annotated, Minted};
pub use record::{Line, Log, Record};

/// The account that requests must be for.
pub const ACCOUNT: &str = "account-1";
/// The token of the log service.
pub const TOKEN: &str = "token-of-the-logs";
/// Most bytes of a line's text, with the mark of one that was cut.
pub const LINE_BYTES: usize = 70 * 1024;
/// Most bytes of an upload.
pub const BLOB_BYTES: usize = 5 * 1024 * 1024;

/// How the services are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All is served.
    Well,
    /// All is refused with this status.
    Refuses(u16),
    /// Of each so many requests of a kind one is served, the others are refused with 500.
    Flaky(u32),
    /// Nothing is answered.
    Hangs,
    /// Requests are read in parts of 64 KiB, with this pause between two.
    Slow(Duration),
}

/// The services, on a port of this machine. They end with the value.
pub struct Platform {
    /// Where they listen.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    health: watch::Sender<Health>,
    record: Mutex<Record>,
    /// Where the store of objects is said to be; none for the address of the services themselves.
    store: Mutex<Option<String>>,
    /// How many came of each kind.
    requests: Mutex<HashMap<String, u32>>,
}

type Services = State<Arc<Shared>>;

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Platform {
    /// Starts them on a free port of an address.
    ///
    /// # Errors
    /// When nobody may listen there.
    pub async fn start(ip: IpAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            health: watch::Sender::new(Health::Well),
            record: Mutex::default(),
            store: Mutex::default(),
            requests: Mutex::default(),
        });
        let app = logs::routes(Router::new());
        let app = others::routes(app);
        let app = app.fallback(unknown).layer(middleware::from_fn_with_state(Arc::clone(&shared), unwell));
        let app = app.with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { address, shared, serving })
    }

    /// The address of the log service.
    #[must_use]
    pub fn logs(&self) -> String {
        format!("http://{}/log-service", self.address)
    }

    /// The address of the other services.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes them well or unwell.
    pub fn is(&self, health: Health) {
        self.shared.health.send_replace(health);
    }

    /// Says that signed links lead to another origin, such as `http://127.0.0.2:80`, which must lead here too.
    pub fn stores_at(&self, origin: &str) {
        *self.shared.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin.to_owned());
    }

    /// Forgets which streams are open, as a service does that is started again.
    pub fn forget_streams(&self) {
        self.shared.record().logs.values_mut().for_each(|log| log.is_open = false);
    }

    /// What a look at what came gives.
    pub fn see<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.shared.record())
    }

    /// What came of a log so far.
    #[must_use]
    pub fn log(&self, key: &str) -> Log {
        self.see(|record| record.logs.get(key).cloned().unwrap_or_default())
    }

    /// Returns breaches of the protocol in requests, for people.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.see(|record| record.faults.clone())
    }
}

async fn unknown(State(shared): Services, request: Request) -> Response {
    shared.record().fault(format!("{} {} is no request of these services", request.method(), request.uri()));
    StatusCode::NOT_FOUND.into_response()
}

async fn unwell(State(shared): Services, request: Request, next: Next) -> Response {
    let refused =
        |status: u16| StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    let health = *shared.health.borrow();
    match health {
        Health::Well | Health::Slow(_) => next.run(request).await,
        Health::Refuses(status) => refused(status),
        Health::Flaky(of) => {
            let turn = {
                let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
                let count = requests.entry(format!("{} {}", request.method(), request.uri().path())).or_default();
                *count += 1;
                *count % of.max(1)
            };
            if turn == 0 { next.run(request).await } else { refused(500) }
        }
        Health::Hangs => {
            let mut health = shared.health.subscribe();
            // The sender lives as long as the services.
            drop(health.wait_for(|now| *now != Health::Hangs).await);
            refused(503)
        }
    }
}

/// The body of a request, read as fast as the services are.
async fn body(shared: &Shared, request: Request) -> Result<Vec<u8>, StatusCode> {
    use futures::StreamExt as _;
    const MOST: usize = 64 << 20;
    let mut body = request.into_body().into_data_stream();
    let mut all = Vec::new();
    let mut paused_at = 0;
    while let Some(part) = body.next().await {
        // A request that was broken off is no request.
        all.extend_from_slice(&part.map_err(|_| StatusCode::BAD_REQUEST)?);
        if all.len() > MOST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let health = *shared.health.borrow();
        if let Health::Slow(pause) = health
            && all.len() >= paused_at + (64 << 10)
        {
            paused_at = all.len();
            tokio::time::sleep(pause).await;
        }
    }
    Ok(all)
}
