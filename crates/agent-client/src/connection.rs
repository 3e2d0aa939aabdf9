//! The connections to an agent: one for control, and one for each bulk transfer.
//!
//! | | protocol | carries |
//! |---|---|---|
//! | control | HTTP/2, one connection, pinged | short requests and answers, and polls |
//! | bulk | HTTP/1.1, one connection for each request | output, files, workspaces, what is typed |
//!
//! HTTP/2 shares one flow-control window among all answers of a connection. A reader that does not read would fill it,
//! and no other answer could pass. So nothing whose reader may be slow goes over the control connection.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_wire::reach::Reach;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{AgentError, Credentials, PING_ANSWER, PING_EVERY};

/// How long it may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Greatest number of bulk transfers with one agent at a time. Further ones wait until one of them ends.
pub const BULK_MOST: usize = 128;
/// How many idle bulk connections are kept for the next transfer, and for how long. The agent keeps them for longer.
const BULK_IDLE_MOST: usize = 2;
const BULK_IDLE: Duration = Duration::from_secs(5);
const HTTP_1: &[u8] = b"http/1.1";

/// The client for bulk transfers with one agent, and how many may run.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) http: reqwest::Client,
    slots: Arc<Semaphore>,
}

/// The right to run a bulk transfer. Dropping it lets another one run.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

impl Bulk {
    pub(crate) fn new(http: reqwest::Client) -> Self {
        Self { http, slots: Arc::new(Semaphore::new(BULK_MOST)) }
    }

    /// Waits for the right to run a transfer.
    pub(crate) async fn slot(&self) -> Slot {
        // Nobody closes the semaphore.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }
}

/// The clients for control and for bulk, and the URL that both put before a path.
pub(crate) fn connect(
    reach: &Reach,
    server_name: &str,
    credentials: &Credentials,
) -> Result<(reqwest::Client, Bulk, String), AgentError> {
    let tls = kiln_tls::client_config(
        credentials.ca_pem.as_bytes(),
        credentials.client.cert_pem.as_bytes(),
        credentials.client.key_pem.as_bytes(),
    )?;
    // Both share the sessions of one configuration, so the handshakes after the first one are short.
    let mut bulk_tls = tls.clone();
    bulk_tls.alpn_protocols = vec![HTTP_1.to_vec()];
    let base = match reach {
        Reach::Ip(address) => format!("https://{server_name}:{}", address.port()),
        Reach::Unix(_) => format!("https://{server_name}"),
    };
    let control = builder(reach, server_name)
        .tls_backend_preconfigured(tls)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_ANSWER)
        .http2_keep_alive_while_idle(true)
        .http2_adaptive_window(true);
    let bulk = builder(reach, server_name)
        .tls_backend_preconfigured(bulk_tls)
        .http1_only()
        .pool_max_idle_per_host(BULK_IDLE_MOST)
        .pool_idle_timeout(BULK_IDLE);
    let bulk = Bulk::new(bulk.build().map_err(AgentError::client)?);
    Ok((control.build().map_err(AgentError::client)?, bulk, base))
}

/// A folder that is kept open as long as sockets in it may be connected to.
pub(crate) type Folder = Option<Arc<File>>;

/// Longest path of a Unix socket: `sun_path` without the zero at its end.
const PATH_MAX_BYTES: usize = 107;

/// Returns a way to the same agent that the kernel takes: the path of a socket that is too long for an address begins with its folder's
/// descriptor. A folder that is not there is not reached, as a socket that is not there.
pub(crate) fn shortened(reach: &Reach) -> (Reach, Folder) {
    if let Reach::Unix(path) = reach
        && path.as_os_str().len() > PATH_MAX_BYTES
        && let Some((folder, name)) = path.parent().zip(path.file_name())
        && let Ok(folder) = File::open(folder)
    {
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        return (Reach::Unix(short), Some(Arc::new(folder)));
    }
    (reach.clone(), None)
}

fn builder(reach: &Reach, server_name: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .no_proxy()
        // Root of the VM may have taken the agent over, so no redirect of it is followed.
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .connect_timeout(CONNECT_WITHIN);
    match reach {
        Reach::Ip(address) => builder.resolve(server_name, *address),
        Reach::Unix(path) => builder.unix_socket(path.as_path()),
    }
}
