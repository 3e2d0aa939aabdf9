//! Where caches are kept, as people give it.

use std::fmt;
use std::path::PathBuf;

use url::Url;

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
    #[error("{0:?} means nothing here: there are endpoint=URL, region=NAME and path-style=true|false")]
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
    /// Returns bucket and prefix as people write them.
    pub(crate) fn address(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
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
            Self::S3(s3) => {
                f.write_str(&s3.address())?;
                s3.endpoint.iter().try_for_each(|endpoint| write!(f, " at {endpoint}"))
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
