//! The place of the database: its URL, and the form that is shown to people, without the password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::OpenError;

/// The place that a URL names.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A SQLite file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether commits survive a power cut.
        survives_power_cut: bool,
    },
    /// Memory of this process: the rows end with it.
    Memory,
    /// A PostgreSQL server.
    Server(Box<PgConnectOptions>),
}

/// The forms of a URL, for error messages.
const FORMS: &str = "Write sqlite:PATH, sqlite:PATH?sync=off, or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| bad("it has no scheme"))?;
        match scheme {
            "sqlite" => Self::file(rest),
            "postgres" | "postgresql" => match PgConnectOptions::from_str(url) {
                Ok(options) => Ok(Self::Server(Box::new(verified(options, rest)))),
                // The parser's message names parts of the URL, such as a port, but never the password.
                Err(sqlx::Error::Configuration(error)) => Err(bad(&error.to_string())),
                Err(_) => Err(bad("it cannot be parsed")),
            },
            _ => Err(bad("its scheme is neither sqlite nor postgres")),
        }
    }

    fn file(rest: &str) -> Result<Self, OpenError> {
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        // URLs of files may have three slashes.
        let path = if path.starts_with("///") { &path[2..] } else { path };
        let survives_power_cut = match options {
            "" | "sync=full" => true,
            "sync=off" => false,
            _ => return Err(bad("the only option of sqlite is sync=full or sync=off")),
        };
        match path {
            "" => Err(bad("it has no path")),
            ":memory:" => Ok(Self::Memory),
            _ if path.starts_with("//") => Err(bad("two slashes are neither a relative path nor an absolute one")),
            _ => Ok(Self::File { path: PathBuf::from(path), survives_power_cut }),
        }
    }
}

/// Files in which systems keep the certificates of trusted authorities.
const TRUSTED: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Makes the connection verify the server's identity, unless the server is on this host or the URL says otherwise.
fn verified(options: PgConnectOptions, url: &str) -> PgConnectOptions {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let says =
        |names: &[&str]| query.split('&').any(|pair| names.contains(&pair.split('=').next().unwrap_or_default()));
    if is_local(&options) || says(&["sslmode", "ssl-mode"]) || std::env::var_os("PGSSLMODE").is_some() {
        return options;
    }
    let options = options.ssl_mode(PgSslMode::VerifyFull);
    let named = says(&["sslrootcert", "ssl-root-cert", "ssl-ca"]) || std::env::var_os("PGSSLROOTCERT").is_some();
    match TRUSTED.into_iter().find(|file| !named && Path::new(file).is_file()) {
        Some(file) => options.ssl_root_cert(file),
        None => options,
    }
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || loopback
}

fn bad(why: &str) -> OpenError {
    OpenError::Url { why: why.to_owned(), forms: FORMS }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Memory => f.write_str("memory"),
            Self::Server(options) => {
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                match options.get_socket() {
                    Some(socket) => write!(f, "database {database} at {}", socket.display()),
                    None => write!(f, "database {database} at {}:{}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_elsewhere_are_verified() {
        let check = |url: &str, expected: &str| {
            let Ok(Place::Server(options)) = Place::parse(url) else { panic!("{url}") };
            assert_eq!(format!("{:?}", options.get_ssl_mode()), expected, "{url}");
        };
        check("postgres://kiln@db.example/fleet", "VerifyFull");
        check("postgres://kiln@192.0.2.7:6432/fleet?application_name=x", "VerifyFull");
        check("postgres://kiln@db.example/fleet?sslmode=require", "Require");
        check("postgres://kiln@db.example/fleet?sslmode=disable", "Disable");
        check("postgres://kiln@127.0.0.1/fleet", "Prefer");
        check("postgres://kiln@[::1]/fleet", "Prefer");
        check("postgres://kiln@localhost/fleet", "Prefer");
        check("postgres://kiln@db.example/fleet?host=/run/postgresql", "Prefer");
        check("postgres://kiln@localhost/fleet?sslmode=verify-full", "VerifyFull");
    }

    #[test]
    fn urls() {
        let check = |url: &str, expected: &str| {
            let found = match Place::parse(url) {
                Ok(Place::File { path, survives_power_cut }) => format!("{} {survives_power_cut}", path.display()),
                Ok(place) => place.to_string(),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.contains("hunter2"), "{text}");
                    assert!(text.contains("Write sqlite:PATH"), "{text}");
                    "error".to_owned()
                }
            };
            assert_eq!(found, expected, "{url}");
        };
        check("sqlite:kiln.db", "kiln.db true");
        check("sqlite:/var/lib/kiln/kiln.db", "/var/lib/kiln/kiln.db true");
        check("sqlite:///var/lib/kiln/kiln.db", "/var/lib/kiln/kiln.db true");
        check("sqlite:/a b/ü.db?sync=off", "/a b/ü.db false");
        check("sqlite::memory:", "memory");
        check("sqlite:", "error");
        check("sqlite://kiln.db", "error");
        check("sqlite:kiln.db?mode=ro", "error");
        check("postgres://kiln:hunter2@db.example:6432/fleet", "database fleet at db.example:6432");
        check("postgresql://kiln:hunter2@db.example/fleet", "database fleet at db.example:5432");
        check("postgres://kiln:hunter2@db.example:port/fleet", "error");
        check("postgres://kiln:hunter2@[/fleet", "error");
        check("mysql://kiln:hunter2@db/fleet", "error");
        check("kiln.db", "error");
    }
}
