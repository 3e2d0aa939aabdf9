//! What a Drone step is told about the build.

use crate::facts::Facts;

/// Variables that each say one fact.
const FACTS: [(&str, &str); 29] = [
    ("DRONE_BRANCH", "branch"),
    ("DRONE_SOURCE_BRANCH", "branch"),
    ("DRONE_TARGET_BRANCH", "branch"),
    ("DRONE_COMMIT_BRANCH", "branch"),
    ("DRONE_REPO_BRANCH", "default_branch"),
    ("DRONE_COMMIT", "commit"),
    ("DRONE_COMMIT_SHA", "commit"),
    ("DRONE_COMMIT_AFTER", "commit"),
    ("DRONE_COMMIT_BEFORE", "before"),
    ("DRONE_COMMIT_REF", "ref"),
    ("DRONE_COMMIT_LINK", "link"),
    ("DRONE_COMMIT_MESSAGE", "message"),
    ("DRONE_COMMIT_AUTHOR", "author"),
    ("DRONE_COMMIT_AUTHOR_NAME", "author"),
    ("DRONE_COMMIT_AUTHOR_EMAIL", "author_email"),
    ("DRONE_BUILD_NUMBER", "build_number"),
    ("DRONE_BUILD_PARENT", "build_parent"),
    ("DRONE_BUILD_CREATED", "created_unix_s"),
    ("DRONE_BUILD_STARTED", "created_unix_s"),
    ("DRONE_BUILD_EVENT", "event"),
    ("DRONE_BUILD_ACTION", "action"),
    ("DRONE_DEPLOY_TO", "target"),
    ("DRONE_CRON", "cron"),
    ("DRONE_REPO", "repo"),
    ("DRONE_REMOTE_URL", "remote_url"),
    ("DRONE_GIT_HTTP_URL", "remote_url"),
    ("DRONE_SYSTEM_HOST", "instance"),
    ("DRONE_SYSTEM_HOSTNAME", "instance"),
    ("DRONE_STAGE_MACHINE", "instance"),
];

/// The variables of a build, sorted by name; those of a fact that is not known are left out. The same names are what
/// `${NAME}` stands for in a file, when the scope has them under `drone`.
///
/// Names and meanings are those of Drone's reference of environment variables.
#[must_use]
pub fn environment(facts: &Facts) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> =
        [("CI", "true"), ("DRONE", "true"), ("DRONE_BUILD_STATUS", "success"), ("DRONE_STAGE_STATUS", "success")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            variables.push((name.to_owned(), value.to_owned()));
        }
    };
    for (name, fact) in FACTS {
        add(name, facts.get(fact));
    }
    if let Some((owner, name)) = facts.get("repo").rsplit_once('/') {
        add("DRONE_REPO_OWNER", owner);
        add("DRONE_REPO_NAMESPACE", owner);
        add("DRONE_REPO_NAME", name);
    } else {
        add("DRONE_REPO_NAME", facts.get("repo"));
    }
    let reference = facts.get("ref");
    let tag = reference.strip_prefix("refs/tags/").unwrap_or_default();
    add("DRONE_TAG", tag);
    semantic_version(tag, &mut add);
    if let Some(rest) = reference.strip_prefix("refs/pull/") {
        add("DRONE_PULL_REQUEST", rest.split('/').next().unwrap_or_default());
    }
    variables.sort();
    variables
}

/// `DRONE_SEMVER` and its parts, when the tag is a semantic version with or without a `v`.
fn semantic_version(tag: &str, add: &mut impl FnMut(&str, &str)) {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let (rest, build) = version.split_once('+').unwrap_or((version, ""));
    let (short, prerelease) = rest.split_once('-').unwrap_or((rest, ""));
    let parts: Vec<&str> = short.split('.').collect();
    let [major, minor, patch] = parts[..] else { return };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(number(major) && number(minor) && number(patch)) {
        return;
    }
    add("DRONE_SEMVER", version);
    add("DRONE_SEMVER_SHORT", short);
    add("DRONE_SEMVER_MAJOR", major);
    add("DRONE_SEMVER_MINOR", minor);
    add("DRONE_SEMVER_PATCH", patch);
    add("DRONE_SEMVER_PRERELEASE", prerelease);
    add("DRONE_SEMVER_BUILD", build);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: Facts, expect: &[(&str, &str)], absent: &[&str]) {
        let variables = environment(&facts);
        let value = |wanted: &str| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        for (name, expected) in expect {
            assert_eq!(value(name), Some(*expected), "{name}");
        }
        for name in absent {
            assert_eq!(value(name), None, "{name}");
        }
        let mut names: Vec<_> = variables.iter().map(|(name, _)| name).collect();
        names.dedup();
        assert_eq!(names.len(), variables.len(), "no name stands twice");
    }

    #[test]
    fn facts_become_variables() {
        let facts = Facts::default().with("branch", "main").with("commit", "abc").with("repo", "octo/hello");
        check(
            facts.clone().with("event", "push").with("ref", "refs/heads/main"),
            &[
                ("CI", "true"),
                ("DRONE", "true"),
                ("DRONE_BRANCH", "main"),
                ("DRONE_COMMIT_SHA", "abc"),
                ("DRONE_REPO_OWNER", "octo"),
                ("DRONE_REPO_NAME", "hello"),
                ("DRONE_BUILD_EVENT", "push"),
            ],
            &["DRONE_TAG", "DRONE_PULL_REQUEST", "DRONE_SEMVER", "DRONE_DEPLOY_TO"],
        );
        check(
            facts.clone().with("ref", "refs/tags/v1.2.3-rc.1+b5"),
            &[
                ("DRONE_TAG", "v1.2.3-rc.1+b5"),
                ("DRONE_SEMVER", "1.2.3-rc.1+b5"),
                ("DRONE_SEMVER_SHORT", "1.2.3"),
                ("DRONE_SEMVER_PRERELEASE", "rc.1"),
                ("DRONE_SEMVER_BUILD", "b5"),
            ],
            &[],
        );
        check(facts.clone().with("ref", "refs/tags/nightly"), &[("DRONE_TAG", "nightly")], &["DRONE_SEMVER"]);
        check(facts.with("ref", "refs/pull/7/head"), &[("DRONE_PULL_REQUEST", "7")], &["DRONE_TAG"]);
    }
}
