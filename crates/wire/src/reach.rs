//! Where an agent listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an agent listens, as the host that reaches it sees it. As text: `IP:PORT`, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Reach {
    /// A TCP address.
    Ip(SocketAddr),
    /// A Unix socket of this host.
    Unix(PathBuf),
}

/// Marks the text form of a Unix socket.
const UNIX: &str = "unix:";

/// A text that names no place where an agent could listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAReach(pub String);

impl Reach {
    /// The IP address in the runner's answers. Callers of the incumbent take an empty one for a failure, so an agent on a
    /// socket of this host has its loopback address.
    #[must_use]
    pub fn ip(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::Unix(_) => "127.0.0.1".to_owned(),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Reach {
    type Err = NotAReach;

    fn from_str(text: &str) -> Result<Self, NotAReach> {
        let not_a_reach = || NotAReach(text.to_owned());
        match text.strip_prefix(UNIX) {
            Some("") => Err(not_a_reach()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Ip).map_err(|_| not_a_reach()),
        }
    }
}

impl TryFrom<String> for Reach {
    type Error = NotAReach;

    fn try_from(text: String) -> Result<Self, NotAReach> {
        text.parse()
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.to_string()
    }
}

impl From<SocketAddr> for Reach {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for NotAReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither IP:PORT nor unix:PATH", self.0)
    }
}

impl std::error::Error for NotAReach {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ip: Option<&str>) {
        let reach = text.parse::<Reach>();
        assert_eq!(reach.as_ref().ok().map(Reach::ip).as_deref(), ip, "{text}");
        if let Ok(reach) = reach {
            assert_eq!(reach.to_string(), text);
        }
    }

    #[test]
    fn texts() {
        check("10.0.0.1:9079", Some("10.0.0.1"));
        check("[2001:db8::1]:9079", Some("2001:db8::1"));
        check("unix:/run/kiln/agent.sock", Some("127.0.0.1"));
        check("unix:", None);
        check("10.0.0.1", None);
        check("agent:9079", None);
        check("", None);
    }
}
