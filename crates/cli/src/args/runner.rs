//! `kiln runner`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::{HostArgs, duration};

/// `kiln runner`
#[derive(Debug, Args)]
pub struct RunnerArgs {
    /// The pool file; it is read again when it changes
    #[arg(long, value_name = "FILE", env = "KILN_POOL_FILE", value_hint = ValueHint::FilePath)]
    pub pool: PathBuf,
    /// Address of the API, as `IP:PORT` or `:PORT`. Any address but loopback needs a token or mTLS [env:
    /// KILN_HTTP_BIND, DRONE_HTTP_BIND] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS", value_parser = bind)]
    pub bind: Option<SocketAddr>,
    /// File with the token that callers must present, at least 16 bytes [env: KILN_API_TOKEN holds the token itself]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Certificate of the API, PEM; the API then uses TLS
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,
    /// Authority of callers' certificates, PEM; callers must then present one
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub client_ca: Option<PathBuf>,
    /// On loopback without a token: further host under which callers may reach the API, `NAME` for any port or
    /// `NAME:PORT`; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` for several runners [default: a file in the state folder]
    #[arg(long, value_name = "URL", env = "KILN_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// Name of this runner, unique among those that share a database [env: KILN_RUNNER_NAME, DRONE_RUNNER_NAME]
    /// [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Time for which a stage waits for an instance unless its request says otherwise
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub wait: Duration,
    /// Time within which an agent must be prepared for a stage
    #[arg(long, value_name = "DURATION", env = "SETUP_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub setup_timeout: Duration,
    /// Time for open requests to end on SIGTERM; stages continue without the runner
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Time without contact to any runner after which an instance powers itself off
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub lease: Duration,
    /// Fallback pool for requests when neither they nor the pool file name one; may be repeated
    #[arg(long, value_name = "POOL", env = "DRONE_FALLBACK_POOL_IDS", value_delimiter = ',')]
    pub fallback: Vec<String>,
    /// Settings of this machine for local VMs; their size is in the pool file
    #[command(flatten)]
    pub host: HostArgs,
}

/// Reads `127.0.0.1:3000` and `:3000`, which means every address of this machine.
pub fn bind(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.replace("localhost", "127.0.0.1") };
    full.parse().map_err(|_| "expected an address such as 127.0.0.1:3000 or :3000".to_owned())
}
