//! Facts about the working tree, from the user's own `git`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kiln_executor::workspace::without_credentials;
use kiln_pipeline::facts::Facts;

/// Returns the repository that contains `dir`, if there is one.
pub fn root(dir: &Path) -> Option<PathBuf> {
    git(dir, &["rev-parse", "--show-toplevel"]).map(PathBuf::from)
}

/// Returns the facts about the build that conditions and expressions can use. Without a repository these are only the
/// given ones.
pub fn facts(dir: &Path, event: &str, branch: Option<&str>) -> Facts {
    let branch = branch.map(str::to_owned).or_else(|| git(dir, &["symbolic-ref", "--short", "-q", "HEAD"]));
    let tag = (event == "tag").then(|| git(dir, &["describe", "--tags", "--exact-match"])).flatten();
    let reference = match (&tag, &branch) {
        (Some(tag), _) => format!("refs/tags/{tag}"),
        (None, Some(branch)) => format!("refs/heads/{branch}"),
        (None, None) => String::new(),
    };
    let default_branch = git(dir, &["symbolic-ref", "--short", "-q", "refs/remotes/origin/HEAD"]).unwrap_or_default();
    let remote = git(dir, &["remote", "get-url", "origin"]).unwrap_or_default();
    let [commit, author, email, message] = last_commit(dir);
    Facts::default()
        .with("event", event)
        .with("branch", branch.unwrap_or_default())
        .with("default_branch", default_branch.strip_prefix("origin/").unwrap_or_default())
        .with("tag", tag.unwrap_or_default())
        .with("ref", reference)
        .with("commit", commit)
        .with("author", author)
        .with("author_email", email)
        .with("message", message)
        .with("repo", repository(&remote))
        // A remote may contain a token, which must reach no step and no log.
        .with("remote_url", without_credentials(&remote).unwrap_or(remote))
}

fn last_commit(dir: &Path) -> [String; 4] {
    let text = git(dir, &["log", "-1", "--no-show-signature", "--format=%H%x00%an%x00%ae%x00%B"]).unwrap_or_default();
    let mut fields = text.split('\0').map(str::to_owned);
    std::array::from_fn(|_| fields.next().unwrap_or_default())
}

/// Returns `owner/name` of a remote.
fn repository(remote: &str) -> String {
    let path = remote.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit(['/', ':']);
    match (parts.next(), parts.next()) {
        (Some(name), Some(owner)) if !owner.is_empty() => format!("{owner}/{name}"),
        _ => String::new(),
    }
}

fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let output = kiln_executor::workspace::git(dir).args(args).stderr(Stdio::null()).output();
    let output = output.ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_of_another_user_has_facts_too() {
        let dir = tempfile::tempdir().unwrap();
        let people = ["-c", "user.name=me", "-c", "user.email=me"];
        for args in [
            &["init", "--quiet", "--initial-branch=side"][..],
            &["commit", "--quiet", "--allow-empty", "-m", "x\n\nwhy\n"],
        ] {
            let done = kiln_executor::workspace::git(dir.path()).args(people).args(args).status().unwrap();
            assert!(done.success(), "{args:?}");
        }
        // Only root can give files away. For other users the repository stays their own.
        for path in [dir.path().join(".git"), dir.path().to_owned()] {
            drop(std::os::unix::fs::chown(path, Some(12345), None));
        }
        assert_eq!(root(dir.path()), dir.path().canonicalize().ok());
        let facts = facts(dir.path(), "push", None);
        assert_eq!((facts.get("branch"), facts.get("message")), ("side", "x\n\nwhy"));
    }

    #[test]
    fn remotes_are_read() {
        for remote in
            ["https://example.org/octo/spoon.git", "git@example.org:octo/spoon.git", "ssh://git@h/octo/spoon/"]
        {
            assert_eq!(repository(remote), "octo/spoon", "{remote}");
        }
        assert_eq!(repository(""), "");
    }
}
