//! Where caches are kept, as people give it.

use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

/// A directory of this machine, or a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory. It is made when something is saved.
    Directory(PathBuf),
    /// A bucket of S3, or of a store that speaks its protocol.
    S3(S3),
}

/// A bucket, and how it is reached. Credentials are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// What names in it begin with; empty for none.
    pub prefix: String,
    /// URL of a store that is not Amazon's.
    pub endpoint: Option<String>,
    /// Its region, where the environment does not say it.
    pub region: Option<String>,
    /// Whether the bucket is a part of the host's name, as at Amazon. By default it is a part of the path when there is an endpoint.
    pub virtual_host: Option<bool>,
    /// Whether instances are given links to it. By default they are, unless it is on this machine, which they do not reach.
    pub links: Option<bool>,
}

/// A text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It names another kind of store.
    #[error("{0}:// is no store that caches can be kept in: expected a directory, or s3://BUCKET/PREFIX?endpoint=URL")]
    Scheme(String),
    /// It cannot be read.
    #[error("it is no URL: {0}")]
    Malformed(#[from] url::ParseError),
    /// There is no bucket in it.
    #[error("it names no bucket: expected s3://BUCKET/PREFIX?endpoint=URL")]
    NoBucket,
    /// It holds credentials, which would be seen in the list of processes.
    #[error("it holds credentials: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by AWS_PROFILE")]
    Credentials,
    /// There is something behind the `?` that means nothing.
    #[error(
        "{0:?} means nothing here: there are endpoint=URL, region=NAME, path-style=true|false and links=true|false"
    )]
    Parameter(String),
}

impl Location {
    /// Reads `DIR` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&path-style=BOOL`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            None => Ok(Self::Directory(PathBuf::from(text))),
            Some("s3") => S3::parse(&Url::parse(text)?).map(Self::S3),
            Some(other) => Err(LocationError::Scheme(other.to_owned())),
        }
    }
}

impl S3 {
    /// Returns whether instances are given links to it.
    pub(crate) fn has_links(&self) -> bool {
        let host = self.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok());
        let is_here = host.is_some_and(|url| match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        });
        self.links.unwrap_or(!is_here)
    }

    fn parse(url: &Url) -> Result<Self, LocationError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError::Credentials);
        }
        let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or(LocationError::NoBucket)?;
        let mut s3 =
            Self { bucket: bucket.to_owned(), prefix: url.path().trim_matches('/').to_owned(), ..Self::default() };
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("endpoint", value) => {
                    let endpoint = Url::parse(value)?;
                    if !endpoint.username().is_empty() || endpoint.password().is_some() {
                        return Err(LocationError::Credentials);
                    }
                    s3.endpoint = Some(value.to_owned());
                }
                ("region", value) => s3.region = Some(value.to_owned()),
                ("path-style", "true") => s3.virtual_host = Some(false),
                ("path-style", "false") => s3.virtual_host = Some(true),
                ("links", "true") => s3.links = Some(true),
                ("links", "false") => s3.links = Some(false),
                (name, value) => return Err(LocationError::Parameter(format!("{name}={value}"))),
            }
        }
        Ok(s3)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::S3(S3 { bucket, prefix, endpoint, .. }) => {
                write!(f, "s3://{bucket}")?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                endpoint.iter().try_for_each(|endpoint| write!(f, " at {endpoint}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_buckets() {
        assert_eq!(Location::parse("/var/cache"), Ok(Location::Directory("/var/cache".into())));
        assert_eq!(Location::parse("caches"), Ok(Location::Directory("caches".into())));
        let s3 = |text: &str| match Location::parse(text) {
            Ok(Location::S3(s3)) => s3,
            other => panic!("{text}: {other:?}"),
        };
        let plain = S3 { bucket: "b".to_owned(), ..S3::default() };
        assert_eq!(s3("s3://b"), plain);
        assert_eq!(s3("s3://b/"), plain);
        let full = s3("s3://b/a/prefix/?endpoint=http://127.0.0.1:9000&region=eu-1&path-style=true");
        assert_eq!((full.prefix.as_str(), full.endpoint.as_deref()), ("a/prefix", Some("http://127.0.0.1:9000")));
        assert_eq!((full.region.as_deref(), full.virtual_host), (Some("eu-1"), Some(false)));
    }

    #[test]
    fn instances_are_given_links_to_what_they_may_reach() {
        for (query, expected) in [
            ("", true),
            ("?endpoint=https://s3.example", true),
            ("?endpoint=http://127.0.0.1:9000", false),
            ("?endpoint=http://localhost:9000", false),
            ("?endpoint=http://[::1]:9000", false),
            ("?endpoint=http://[::1]:9000&links=true", true),
            ("?links=false", false),
        ] {
            let Ok(Location::S3(s3)) = Location::parse(&format!("s3://b{query}")) else { panic!("{query}") };
            assert_eq!(s3.has_links(), expected, "{query}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_would_be_right() {
        for (text, told) in [
            ("gs://b", "gs:// is no store"),
            ("s3://", "no bucket"),
            ("s3://key:secret@b", "AWS_ACCESS_KEY_ID"),
            ("s3://b?endpoint=https://key:secret@host", "AWS_ACCESS_KEY_ID"),
            ("s3://b?endpoint=host", "no URL"),
            ("s3://b?path-style=yes", "path-style=true|false"),
            ("s3://b?key=1", "\"key=1\" means nothing"),
        ] {
            let error = Location::parse(text).expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }
}
