//! The variables by which a Drone step learns about its build.

use super::{remote, versions};
use crate::facts::Facts;

/// Variables that each hold one fact, and what they hold where it is not known. As in Drone, they are always there.
const FACTS: [(&str, &str, &str); 41] = [
    ("DRONE_BRANCH", "branch", ""),
    ("DRONE_SOURCE_BRANCH", "branch", ""),
    ("DRONE_TARGET_BRANCH", "branch", ""),
    ("DRONE_COMMIT_BRANCH", "branch", ""),
    ("DRONE_REPO_BRANCH", "default_branch", ""),
    ("DRONE_COMMIT", "commit", ""),
    ("DRONE_COMMIT_SHA", "commit", ""),
    ("DRONE_COMMIT_AFTER", "commit", ""),
    ("DRONE_COMMIT_BEFORE", "before", ""),
    ("DRONE_COMMIT_REF", "ref", ""),
    ("DRONE_COMMIT_LINK", "link", ""),
    ("DRONE_COMMIT_AUTHOR", "author", ""),
    ("DRONE_COMMIT_AUTHOR_NAME", "author", ""),
    ("DRONE_COMMIT_AUTHOR_EMAIL", "author_email", ""),
    // A run that no server counts is the first one, as `<+pipeline.sequenceId>` has it.
    ("DRONE_BUILD_NUMBER", "build_number", "1"),
    ("DRONE_BUILD_PARENT", "build_parent", "0"),
    ("DRONE_BUILD_CREATED", "created_unix_s", ""),
    ("DRONE_BUILD_STARTED", "created_unix_s", ""),
    ("DRONE_BUILD_EVENT", "event", ""),
    ("DRONE_BUILD_ACTION", "action", ""),
    ("DRONE_DEPLOY_TO", "target", ""),
    ("DRONE_CRON", "cron", ""),
    ("DRONE_REPO", "repo", ""),
    ("DRONE_SYSTEM_HOST", "instance", ""),
    ("DRONE_SYSTEM_HOSTNAME", "instance", ""),
    ("DRONE_STAGE_MACHINE", "instance", ""),
    // Names of Drone 0.8, which its runners still set.
    ("CI_REPO", "repo", ""),
    ("CI_REPO_NAME", "repo", ""),
    ("CI_BUILD_NUMBER", "build_number", "1"),
    ("CI_PARENT_BUILD_NUMBER", "build_parent", "0"),
    ("CI_BUILD_CREATED", "created_unix_s", ""),
    ("CI_BUILD_STARTED", "created_unix_s", ""),
    ("CI_BUILD_EVENT", "event", ""),
    ("CI_BUILD_LINK", "link", ""),
    ("CI_BUILD_TARGET", "target", ""),
    ("CI_COMMIT_SHA", "commit", ""),
    ("CI_COMMIT_REF", "ref", ""),
    ("CI_COMMIT_BRANCH", "branch", ""),
    ("CI_COMMIT_AUTHOR", "author", ""),
    ("CI_COMMIT_AUTHOR_NAME", "author", ""),
    ("CI_COMMIT_AUTHOR_EMAIL", "author_email", ""),
];

/// Variables that hold more than one fact, or something of the pipeline, of its progress or of the tag.
const OTHERS: [&str; 49] = [
    "CI",
    "CI_BUILD_FINISHED",
    "CI_BUILD_STATUS",
    "CI_COMMIT_MESSAGE",
    "CI_REMOTE_URL",
    "CI_REPO_LINK",
    "CI_REPO_REMOTE",
    "DRONE",
    "DRONE_BUILD_FINISHED",
    "DRONE_BUILD_STATUS",
    "DRONE_CALVER",
    "DRONE_CALVER_MAJOR",
    "DRONE_CALVER_MAJOR_MINOR",
    "DRONE_CALVER_MICRO",
    "DRONE_CALVER_MINOR",
    "DRONE_CALVER_MODIFIER",
    "DRONE_CALVER_SHORT",
    "DRONE_COMMIT_MESSAGE",
    "DRONE_FAILED_STAGES",
    "DRONE_FAILED_STEPS",
    "DRONE_GIT_HTTP_URL",
    "DRONE_GIT_SSH_URL",
    "DRONE_PULL_REQUEST",
    "DRONE_REMOTE_URL",
    "DRONE_REPO_LINK",
    "DRONE_REPO_NAME",
    "DRONE_REPO_NAMESPACE",
    "DRONE_REPO_OWNER",
    "DRONE_REPO_SCM",
    "DRONE_SEMVER",
    "DRONE_SEMVER_BUILD",
    "DRONE_SEMVER_ERROR",
    "DRONE_SEMVER_MAJOR",
    "DRONE_SEMVER_MINOR",
    "DRONE_SEMVER_PATCH",
    "DRONE_SEMVER_PRERELEASE",
    "DRONE_SEMVER_SHORT",
    "DRONE_STAGE_ARCH",
    "DRONE_STAGE_DEPENDS_ON",
    "DRONE_STAGE_FINISHED",
    "DRONE_STAGE_KIND",
    "DRONE_STAGE_NAME",
    "DRONE_STAGE_NUMBER",
    "DRONE_STAGE_OS",
    "DRONE_STAGE_STARTED",
    "DRONE_STAGE_STATUS",
    "DRONE_STAGE_TYPE",
    "DRONE_STAGE_VARIANT",
    "DRONE_TAG",
];

/// Variables that only the environment of a step has: `${NAME}` is nothing, in Drone too.
const STEP: [&str; 11] = [
    "DRONE_HOME",
    "DRONE_STEP_NAME",
    "DRONE_STEP_NUMBER",
    "DRONE_WORKSPACE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_SSL_NO_VERIFY",
    "GIT_TERMINAL_PROMPT",
    "GIT_TRACE",
];

/// Variables that only a server can fill, and what they are without one.
const SERVER: [(&str, &str); 11] = [
    ("CI_COMMIT_AUTHOR_AVATAR", ""),
    ("CI_REPO_PRIVATE", ""),
    ("DRONE_BUILD_DEBUG", "false"),
    ("DRONE_BUILD_LINK", ""),
    ("DRONE_BUILD_TRIGGER", ""),
    ("DRONE_COMMIT_AUTHOR_AVATAR", ""),
    ("DRONE_DEPLOY_ID", "0"),
    ("DRONE_REPO_PRIVATE", ""),
    ("DRONE_REPO_VISIBILITY", ""),
    ("DRONE_SYSTEM_PROTO", ""),
    ("DRONE_SYSTEM_VERSION", ""),
];

/// A variable of pull requests that only a server can fill.
const TITLE: &str = "DRONE_PULL_REQUEST_TITLE";

/// Most characters of a commit's message that a step gets, as in Drone.
const LONGEST_MESSAGE: usize = 2000;

/// The kinds of names in `${NAME}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A variable that a run has when the build has its fact.
    Known,
    /// A variable that only the environment of a step has.
    Step,
    /// A variable that only Drone's server has.
    Server,
    /// No name of Drone's; the most similar of those is given, if there is one.
    Unknown(Option<&'static str>),
}

/// Classifies a name in `${NAME}`.
pub(super) fn name(written: &str) -> Name {
    let fixed = SERVER.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| *name);
    let known = || FACTS.iter().map(|(name, _, _)| *name).chain(OTHERS);
    if known().chain(fixed).any(|name| name == written) {
        return Name::Known;
    }
    if STEP.contains(&written) {
        return Name::Step;
    }
    let server = || SERVER.iter().map(|(name, _)| *name).chain([TITLE]);
    if server().any(|name| name == written) {
        return Name::Server;
    }
    let all = known().chain(server()).chain(STEP);
    let near = written.starts_with("DRONE").then(|| kiln_document::schema::closest(written, all)).flatten();
    Name::Unknown(near)
}

/// Returns the variables of a build, sorted by name. The same names are what `${NAME}` stands for in a file, when the
/// scope has them under `drone`.
///
/// Names and meanings are those of Drone's reference of environment variables. As in Drone, a variable whose value is
/// not known is empty; only those of a tag and of a pull request are left out where there is none.
#[must_use]
pub fn environment(facts: &Facts) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut add = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    for (name, value) in SERVER.into_iter().chain([("CI", "true"), ("DRONE", "true"), ("DRONE_REPO_SCM", "git")]) {
        add(name, value);
    }
    for (name, fact, otherwise) in FACTS {
        let value = facts.get(fact);
        add(name, if value.is_empty() { otherwise } else { value });
    }
    for name in ["DRONE_BUILD_STATUS", "DRONE_STAGE_STATUS", "CI_BUILD_STATUS"] {
        add(name, "success");
    }
    let message: String = facts.get("message").chars().take(LONGEST_MESSAGE).collect();
    for name in ["DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"] {
        add(name, &message);
    }
    repository(facts, &mut add);
    let reference = facts.get("ref");
    if let Some(tag) = reference.strip_prefix("refs/tags/") {
        add("DRONE_TAG", tag);
        versions::semantic(tag, &mut add);
        versions::by_calendar(tag, &mut add);
    }
    if let Some(rest) = reference.strip_prefix("refs/pull/") {
        add("DRONE_PULL_REQUEST", rest.split('/').next().unwrap_or_default());
        add(TITLE, "");
    }
    variables.sort();
    variables
}

/// Adds the variables of the repository's name and addresses.
fn repository(facts: &Facts, add: &mut impl FnMut(&str, &str)) {
    let (owner, name) = facts.get("repo").rsplit_once('/').unwrap_or(("", facts.get("repo")));
    add("DRONE_REPO_OWNER", owner);
    add("DRONE_REPO_NAMESPACE", owner);
    add("DRONE_REPO_NAME", name);
    let address = facts.get("remote_url");
    let http = remote::http(address);
    for name in ["DRONE_REMOTE_URL", "CI_REMOTE_URL", "CI_REPO_REMOTE"] {
        add(name, http.as_deref().unwrap_or(address));
    }
    add("DRONE_GIT_HTTP_URL", &http.unwrap_or_default());
    add("DRONE_GIT_SSH_URL", &remote::ssh(address).unwrap_or_default());
    let page = remote::page(address).unwrap_or_default();
    for name in ["DRONE_REPO_LINK", "CI_REPO_LINK"] {
        add(name, &page);
    }
}

/// Returns the variables by which Drone tells git in a step who commits, and that nobody is there to be asked.
#[must_use]
pub fn git_environment(facts: &Facts) -> Vec<(String, String)> {
    let or = |fact: &str, otherwise: &str| {
        Some(facts.get(fact)).filter(|value| !value.is_empty()).unwrap_or(otherwise).to_owned()
    };
    let (name, email) = (or("author", "drone"), or("author_email", "noreply@drone"));
    [
        ("GIT_AUTHOR_NAME", name.clone()),
        ("GIT_AUTHOR_EMAIL", email.clone()),
        ("GIT_COMMITTER_NAME", name),
        ("GIT_COMMITTER_EMAIL", email),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::progress::Progress;
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
        assert_eq!(name("DRONE_WORKSPACE"), Name::Step);
        assert_eq!(name("DRONE_COMIT_SHA"), Name::Unknown(Some("DRONE_COMMIT_SHA")));
        assert_eq!(name("DRONES"), Name::Unknown(Some("DRONE")));
        assert_eq!(name("HOME"), Name::Unknown(None));
        let given = ["tag", "branch", "commit", "message", "author", "repo", "remote_url", "event", "instance", "cron"];
        let facts = given.iter().fold(Facts::default(), |facts, fact| facts.with(fact, "a/b"));
        for (variable, _) in environment(&facts.with("ref", "refs/tags/v1.2.3-a+b")) {
            let is_server = SERVER.contains(&(&variable, ""));
            assert_eq!(name(&variable), if is_server { Name::Server } else { Name::Known }, "{variable}");
        }
        for (variable, _) in git_environment(&Facts::default()) {
            assert_eq!(name(&variable), Name::Step, "{variable}");
        }
        let progress = Progress { failed_steps: vec!["a".into()], ..Progress::default() };
        for (variable, _) in progress.variables() {
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
                ("DRONE_DEPLOY_TO", ""),
                ("DRONE_BUILD_PARENT", "0"),
                ("CI_COMMIT_SHA", "abc"),
                ("CI_REPO", "octo/hello"),
            ],
            &["DRONE_TAG", "DRONE_PULL_REQUEST", "DRONE_SEMVER", "DRONE_SEMVER_ERROR", "DRONE_CALVER"],
        );
        let remote = "git@example.org:octo/hello.git";
        check(
            Facts::default().with("remote_url", remote).with("message", "Subject\n\n".to_owned() + &"ä".repeat(3000)),
            &[
                ("DRONE_GIT_SSH_URL", remote),
                ("DRONE_GIT_HTTP_URL", "https://example.org/octo/hello.git"),
                ("DRONE_REMOTE_URL", "https://example.org/octo/hello.git"),
                ("DRONE_REPO_LINK", "https://example.org/octo/hello"),
                ("DRONE_COMMIT_MESSAGE", &("Subject\n\n".to_owned() + &"ä".repeat(1991))),
            ],
            &[],
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
        check(
            facts.clone().with("ref", "refs/tags/nightly"),
            &[("DRONE_TAG", "nightly"), ("DRONE_SEMVER_ERROR", "nightly is not in dotted-tri format")],
            &["DRONE_SEMVER", "DRONE_CALVER"],
        );
        check(
            facts.clone().with("ref", "refs/tags/v2024.05.1-rc1"),
            &[
                ("DRONE_CALVER", "2024.05.1-rc1"),
                ("DRONE_CALVER_SHORT", "2024.05.1"),
                ("DRONE_CALVER_MAJOR_MINOR", "2024.05"),
                ("DRONE_CALVER_MICRO", "1"),
                ("DRONE_CALVER_MODIFIER", "rc1"),
            ],
            &[],
        );
        check(facts.with("ref", "refs/pull/7/head"), &[("DRONE_PULL_REQUEST", "7")], &["DRONE_TAG"]);
    }
}
