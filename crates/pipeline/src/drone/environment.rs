//! The variables by which a Drone step learns about its build.

use crate::facts::Facts;

/// Variables that each hold one fact.
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

/// Variables that hold more than one fact, or the same value in every build.
const OTHERS: [&str; 26] = [
    "CI",
    "DRONE",
    "DRONE_BUILD_STATUS",
    "DRONE_PULL_REQUEST",
    "DRONE_REPO_NAME",
    "DRONE_REPO_NAMESPACE",
    "DRONE_REPO_OWNER",
    "DRONE_SEMVER",
    "DRONE_SEMVER_BUILD",
    "DRONE_SEMVER_MAJOR",
    "DRONE_SEMVER_MINOR",
    "DRONE_SEMVER_PATCH",
    "DRONE_SEMVER_PRERELEASE",
    "DRONE_SEMVER_SHORT",
    "DRONE_STAGE_ARCH",
    "DRONE_STAGE_DEPENDS_ON",
    "DRONE_STAGE_KIND",
    "DRONE_STAGE_NAME",
    "DRONE_STAGE_NUMBER",
    "DRONE_STAGE_OS",
    "DRONE_STAGE_STATUS",
    "DRONE_STAGE_TYPE",
    "DRONE_STEP_NAME",
    "DRONE_STEP_NUMBER",
    "DRONE_TAG",
    "DRONE_WORKSPACE",
];
/// Variables of Drone's reference that only its server knows.
const SERVER: [&str; 23] = [
    "DRONE_BUILD_DEBUG",
    "DRONE_BUILD_FINISHED",
    "DRONE_BUILD_LINK",
    "DRONE_BUILD_TRIGGER",
    "DRONE_CALVER",
    "DRONE_CALVER_MAJOR_MINOR",
    "DRONE_CALVER_MICRO",
    "DRONE_CALVER_MODIFIER",
    "DRONE_COMMIT_AUTHOR_AVATAR",
    "DRONE_DEPLOY_ID",
    "DRONE_FAILED_STAGES",
    "DRONE_FAILED_STEPS",
    "DRONE_GIT_SSH_URL",
    "DRONE_PULL_REQUEST_TITLE",
    "DRONE_REPO_LINK",
    "DRONE_REPO_PRIVATE",
    "DRONE_REPO_SCM",
    "DRONE_REPO_VISIBILITY",
    "DRONE_SEMVER_ERROR",
    "DRONE_STAGE_FINISHED",
    "DRONE_STAGE_STARTED",
    "DRONE_SYSTEM_PROTO",
    "DRONE_SYSTEM_VERSION",
];

/// The kinds of names in `${NAME}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A variable that a run has when the build has its fact.
    Known,
    /// A variable that only Drone's server has.
    Server,
    /// No name of Drone's; the most similar of those is given, if there is one.
    Unknown(Option<&'static str>),
}

/// Classifies a name in `${NAME}`.
pub(super) fn name(written: &str) -> Name {
    let known = || FACTS.iter().map(|(name, _)| *name).chain(OTHERS);
    if known().any(|name| name == written) {
        return Name::Known;
    }
    if SERVER.contains(&written) {
        return Name::Server;
    }
    let near =
        written.starts_with("DRONE").then(|| kiln_document::schema::closest(written, known().chain(SERVER))).flatten();
    Name::Unknown(near)
}

/// Returns the variables of a build, sorted by name; those of a fact that is not known are left out. The same names are
/// what `${NAME}` stands for in a file, when the scope has them under `drone`.
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
    // As `<+pipeline.sequenceId>`, a run that no server counts is the first one.
    if facts.get("build_number").is_empty() {
        add("DRONE_BUILD_NUMBER", "1");
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

/// Adds `DRONE_SEMVER` and its parts when the tag is a semantic version, with or without a `v`.
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
    fn names() {
        assert_eq!(name("DRONE_TAG"), Name::Known);
        assert_eq!(name("DRONE_COMMIT_SHA"), Name::Known);
        assert_eq!(name("DRONE_BUILD_LINK"), Name::Server);
        assert_eq!(name("DRONE_COMIT_SHA"), Name::Unknown(Some("DRONE_COMMIT_SHA")));
        assert_eq!(name("DRONES"), Name::Unknown(Some("DRONE")));
        assert_eq!(name("HOME"), Name::Unknown(None));
        let given = ["tag", "branch", "commit", "message", "author", "repo", "remote_url", "event", "instance", "cron"];
        let facts = given.iter().fold(Facts::default(), |facts, fact| facts.with(fact, "a/b"));
        for (variable, _) in environment(&facts.with("ref", "refs/tags/v1.2.3-a+b")) {
            assert_eq!(name(&variable), Name::Known, "{variable}");
        }
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
