//! Where a pool keeps the layers of image builds.

use super::error::ContainerError;
use super::reference::parse_repository;

/// What a bucket starts with, in BuildKit's words.
const S3: &str = "type=s3,";
/// What of BuildKit's words a pool may say of a bucket.
const S3_KEYS: [&str; 6] = ["bucket", "region", "prefix", "endpoint_url", "use_path_style", "blobs_prefix"];
/// What BuildKit cannot do without.
const S3_NEEDED: [&str; 2] = ["bucket", "region"];

/// Checks where the layers of image builds are kept: a repository, or a bucket in BuildKit's words.
///
/// # Errors
/// When it is neither, or holds what does not belong there.
pub(crate) fn check_build_cache(text: &str) -> Result<(), ContainerError> {
    match text.strip_prefix(S3) {
        Some(words) => check_s3(words).map_err(|reason| ContainerError::BadBuildCache { given: shown(text), reason }),
        None if text.contains(['=', ',']) => Err(ContainerError::BadBuildCache {
            given: shown(text),
            reason: format!("write a repository, as in `registry.example/cache`, or `{S3}bucket=NAME,region=NAME`"),
        }),
        None => parse_repository(text).map(drop),
    }
}

fn check_s3(words: &str) -> Result<(), String> {
    let pairs: Vec<(&str, &str)> = words.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    for (key, value) in &pairs {
        match *key {
            "access_key_id" | "secret_access_key" | "session_token" => {
                return Err(format!(
                    "`{key}` is a secret, which every step of the pool would see: give steps that build images \
                     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY as secrets of their pipeline"
                ));
            }
            "name" | "mode" => return Err(format!("`{key}` is set for each image that is built: leave it out")),
            key if !S3_KEYS.contains(&key) => {
                return Err(format!("`{key}` is not known of a bucket; known are: {}", S3_KEYS.join(", ")));
            }
            _ => {}
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/".contains(c);
        if value.is_empty() || !value.chars().all(plain) {
            return Err(format!("`{key}` has no value of letters, digits and `-._~:/`"));
        }
    }
    match S3_NEEDED.iter().find(|needed| !pairs.iter().any(|(key, _)| key == *needed)) {
        Some(missing) => Err(format!("`{missing}` is missing, as in `{S3}bucket=NAME,region=NAME`")),
        None => Ok(()),
    }
}

/// Returns it without what may be a secret.
fn shown(text: &str) -> String {
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((key, _)) if key.contains("key") || key.contains("token") => format!("{key}=..."),
        _ => pair.to_owned(),
    };
    text.split(',').map(hidden).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::check_build_cache;

    #[test]
    fn layers_of_builds_are_kept_in_a_repository_or_a_bucket() {
        let check = |text: &str, expect: &str| {
            let found = check_build_cache(text).map_or_else(|error| error.to_string(), |()| "good".to_owned());
            assert!(found.contains(expect) && !found.contains("hush"), "{text}: {found}");
        };
        check("registry.example:5000/team/cache", "good");
        check("type=s3,bucket=layers,region=eu-west-1", "good");
        check("type=s3,bucket=b,region=r,endpoint_url=http://10.0.2.2:9000,use_path_style=true", "good");
        check("registry.example/cache:main", "each image that is built has a tag of its own");
        check("registry.example/Cache", "names no container image");
        check("type=gha", "write a repository");
        check("type=s3,bucket=b", "`region` is missing");
        check("type=s3,bucket=,region=r", "`bucket` has no value");
        check("type=s3,bucket=b c,region=r", "`bucket` has no value");
        check("type=s3,bucket=b,region=r,mode=max", "`mode` is set for each image");
        check("type=s3,bucket=b,region=r,colour=red", "`colour` is not known");
        check("type=s3,bucket=b,region=r,secret_access_key=hush", "`secret_access_key` is a secret");
    }
}
