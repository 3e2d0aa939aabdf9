//! Where the database is: the URL, and how it is named to people, without its password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::OpenError;

/// A parsed URL.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether what was written survives a power cut, too.
        survives_power_cut: bool,
    },
    /// Nowhere: gone with the process.
    Memory,
    /// A server.
    Server(Box<PgConnectOptions>),
}

/// What may stand in a URL, for error messages.
const FORMS: &str = "Write sqlite:PATH, sqlite:PATH?sync=off, or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| bad("it has no scheme"))?;
        match scheme {
            "sqlite" => Self::file(rest),
            "postgres" | "postgresql" => match PgConnectOptions::from_str(url) {
                Ok(options) => Ok(Self::Server(Box::new(options))),
                // The message of the parser names parts of the URL, such as a port, and none of them is the password.
                Err(sqlx::Error::Configuration(error)) => Err(bad(&error.to_string())),
                Err(_) => Err(bad("it cannot be parsed")),
            },
            _ => Err(bad("its scheme is neither sqlite nor postgres")),
        }
    }

    fn file(rest: &str) -> Result<Self, OpenError> {
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        // Three slashes, as URLs of files have them.
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
