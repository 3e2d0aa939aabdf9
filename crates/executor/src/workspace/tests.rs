//! Trees as they arrive: packed, unpacked elsewhere, and looked at with git.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod files;
mod repositories;

use super::git::Git;
use super::{sources, stream};

/// A secret. It must occur nowhere in a copy.
const SECRET: &str = "s3cr3t-t0ken";

/// A folder with a repository, and room for others beside it.
struct Here {
    dir: tempfile::TempDir,
}

/// A tree as it arrives in a VM.
struct There {
    dir: tempfile::TempDir,
    notes: Vec<String>,
    /// What is said to be ignored.
    left: Option<String>,
}

/// Runs git as a machine does that knows nobody.
fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "protocol.file.allow=always"]).args(args);
    let home = [("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")];
    let people = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
    command.envs(home).envs(people.map(|name| (name, "somebody")));
    let output = command.output().expect("git is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

impl Here {
    /// Makes a repository with one commit and a tag, in the folder `repo`.
    fn new() -> Self {
        let here = Self { dir: tempfile::tempdir().unwrap() };
        here.repository("repo");
        here
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn repository(&self, name: &str) {
        self.write(&format!("{name}/a.txt"), "a\n");
        for args in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "."],
            &["commit", "--quiet", "-m", "first"],
            &["tag", "v1"],
        ] {
            self.git(name, args);
        }
    }

    #[track_caller]
    fn git(&self, name: &str, args: &[&str]) {
        git(&self.path(name), args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    }

    /// Adds lines to the repository's settings.
    fn settings(&self, lines: &str) {
        let path = self.path("repo/.git/config");
        let known = fs::read_to_string(&path).unwrap();
        fs::write(path, known + lines).unwrap();
    }

    /// Sends a folder, and asserts that no secret arrives.
    #[track_caller]
    fn send(&self, name: &str) -> There {
        self.send_with(name, &Git::default())
    }

    /// Sends a folder with the git that is given.
    #[track_caller]
    fn send_with(&self, name: &str, git: &Git) -> There {
        let tree = sources::read_with(&self.path(name), git).unwrap();
        let (notes, left) = (tree.notes(), tree.left_behind());
        let mut packed = Vec::new();
        let pack = |chunk: Vec<u8>| {
            packed.extend(chunk);
            Ok(())
        };
        stream::write(&tree.entries, pack).unwrap();
        let there = There { dir: tempfile::tempdir().unwrap(), notes, left };
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_slice()).unwrap());
        archive.unpack(there.dir.path()).unwrap();
        let told = there.notes.join("\n");
        assert!(!told.contains(SECRET), "{told}");
        for (file, bytes) in there.files() {
            assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "in {file}");
        }
        there
    }
}

impl There {
    /// Returns all files with their content.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.dir.path()).unwrap().display().to_string();
                if path.is_symlink() {
                    found.insert(name, Vec::new());
                } else if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(name, fs::read(path).unwrap());
                }
            }
        }
        found
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        git(self.dir.path(), args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Asserts that git works in the copy, and sees it as it was.
    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!(self.git(&["status", "--porcelain"]), "");
        assert_eq!(self.git(&["log", "--format=%s"]), "first");
        assert_eq!(self.git(&["describe", "--tags"]), "v1");
        self.git(&["fsck", "--strict"]);
    }

    /// Asserts that git says the same of the copy as of the folder that was sent.
    #[track_caller]
    fn assert_like(&self, here: &Path) {
        // At first, because it takes the index as it arrived.
        if git(here, &["diff-index", "--quiet", "HEAD", "--"]).is_ok() {
            self.git(&["diff-index", "--quiet", "HEAD", "--"]);
        }
        for args in [
            &["status", "--porcelain", "--untracked-files=all"][..],
            &["ls-files", "-v", "--stage"],
            &["log", "--format=%H %D"],
            &["describe", "--tags", "--always", "--dirty"],
            &["submodule", "status", "--recursive"],
        ] {
            assert_eq!(git(self.dir.path(), args), git(here, args), "{args:?}");
        }
    }

    /// Returns the names of the files that are no part of a repository's `.git`.
    fn names(&self) -> Vec<String> {
        self.files().into_keys().filter(|name| !name.split('/').any(|part| part == ".git")).collect()
    }
}

/// Sends a repository with these settings besides its own, and returns those that arrive and what is said about them.
#[track_caller]
fn check(lines: &str, arrives: &[&str], said: &[&str]) {
    let here = Here::new();
    here.settings(&lines.replace("SECRET", SECRET));
    let there = here.send("repo");
    there.assert_whole();
    let settings = there.git(&["config", "--local", "--list"]);
    let more: Vec<&str> = settings.lines().filter(|line| !line.starts_with("core.")).collect();
    assert_eq!(more, arrives);
    let said = said.join(", ");
    let note = format!("credentials stay on this machine: in .git/config: {said}");
    assert_eq!(there.notes, if said.is_empty() { vec![] } else { vec![note] });
}

#[test]
fn settings_without_credentials_arrive_as_they_are() {
    check(
        "[remote \"origin\"]\n url = https://example.org/a.git\n fetch = +refs/heads/*:refs/remotes/origin/*\n\
         [branch \"a \\\"b\\\\\"]\n remote = origin\n[user]\n name = \"A; \\\"B\\\" # c\"\n[alias]\n lines = \"!f() {\\n\\techo x\\n}; f\"\n[feature]\n manyFiles\n",
        &[
            "remote.origin.url=https://example.org/a.git",
            "remote.origin.fetch=+refs/heads/*:refs/remotes/origin/*",
            "branch.a \"b\\.remote=origin",
            "user.name=A; \"B\" # c",
            "alias.lines=!f() {",
            "\techo x",
            "}; f",
            "feature.manyfiles",
        ],
        &[],
    );
}

#[test]
fn names_and_passwords_in_urls_stay_here() {
    check(
        "# https://x:SECRET@h\n[remote \"origin\"]\n url = https://me:SECRET@example.org/a.git ; SECRET\n pushurl = https://SECRET@example.org/a.git\n\
         proxy = me:SECRET@proxy:3128\n[remote \"ssh\"]\n url = ssh://git:SECRET@example.org/a\n[remote \"https://u:SECRET@h/\"]\n fetch = x\n",
        &[
            "remote.origin.url=https://example.org/a.git",
            "remote.origin.pushurl=https://example.org/a.git",
            "remote.origin.proxy=proxy:3128",
            "remote.ssh.url=ssh://git@example.org/a",
            "remote.https://h/.fetch=x",
        ],
        &[
            "the name and password in remote.https://h/.fetch",
            "the name and password in remote.origin.proxy",
            "the name and password in remote.origin.pushurl",
            "the name and password in remote.origin.url",
            "the name and password in remote.ssh.url",
        ],
    );
    check(
        "[url \"https://oauth2:SECRET@example.org/\"]\n insteadOf = git@example.org:\n pushInsteadOf = x:\n",
        &["url.https://example.org/.insteadof=git@example.org:", "url.https://example.org/.pushinsteadof=x:"],
        &[
            "the name and password in url.https://example.org/.insteadof",
            "the name and password in url.https://example.org/.pushinsteadof",
        ],
    );
}

#[test]
fn headers_helpers_keys_and_secrets_of_other_programs_stay_here() {
    check(
        "[http \"https://example.org/\"]\n extraheader = AUTHORIZATION: basic SECRET\n sslVerify = true\n[http]\n extraheader = X: SECRET\n\
         sslKey = /home/me/SECRET\n cookieFile = /home/me/SECRET\n[credential]\n helper = \"!echo password=SECRET\"\n\
         [credential \"https://example.org\"]\n username = SECRET\n[core]\n sshCommand = sshpass -p SECRET ssh\n askPass = /SECRET\n\
         [sendemail]\n smtpPass = SECRET\n smtpServer = mail\n[github]\n token = SECRET\n user = me\n[alias]\n pr = \"!curl -H 'Authorization: SECRET' x\"\n\
         [remote \"origin\"]\n url = https://example.org/a.git?private_token=SECRET\n[http \"https://example.org/?token=SECRET\"]\n sslVerify = true\n",
        &["http.https://example.org/.sslverify=true", "sendemail.smtpserver=mail", "github.user=me"],
        &[
            "alias.pr",
            "core.askpass",
            "core.sshcommand",
            "credential.helper",
            "credential.https://example.org.username",
            "github.token",
            "http.cookiefile",
            "http.extraheader",
            "http.https://example.org/.extraheader",
            "http.https://example.org/.sslverify",
            "http.sslkey",
            "remote.origin.url",
            "sendemail.smtppass",
        ],
    );
}

#[test]
fn settings_from_files_outside_stay_here_and_those_from_files_inside_are_looked_at() {
    let here = Here::new();
    here.write("outside", &format!("[http]\n extraheader = X: {SECRET}\n"));
    here.write("repo/.git/more", &format!("[http]\n extraheader = X: {SECRET}\n[user]\n name = me\n"));
    here.write("repo/.gitconfig", "[alias]\n st = status\n");
    here.git("repo", &["add", "."]);
    here.git("repo", &["commit", "--quiet", "--amend", "-m", "first"]);
    here.git("repo", &["tag", "--force", "v1"]);
    let outside = here.path("outside").display().to_string();
    here.write("repo/untracked", &format!("[github]\n token = {SECRET}\n user = me\n"));
    here.settings(&format!(
        "[include]\n path = {outside}\n path = ../../outside\n path = ~/x\n path = more\n path = ../.gitconfig\n path = ../untracked\n\
         [includeIf \"gitdir:/\"]\n path = {outside}\n"
    ));
    let there = here.send("repo");
    assert_eq!(there.git(&["config", "user.name"]), "me");
    assert_eq!(there.git(&["config", "github.user"]), "me");
    assert_eq!(there.git(&["st", "--porcelain"]), "?? untracked");
    assert_eq!(
        there.notes,
        [
            "credentials stay on this machine: in .git/config: include.path, includeif.gitdir:/.path; in .git/more: http.extraheader; \
          in untracked: github.token"
        ]
    );
}

#[test]
fn files_of_credentials_stay_here() {
    let here = Here::new();
    let url = format!("https://me:{SECRET}@example.org\n");
    for name in [
        ".git/credentials",
        ".git/.git-credentials",
        ".git/config.bak",
        ".git/config~",
        ".git-credentials",
        ".git/store",
        ".git/other",
        ".git/jar",
    ] {
        here.write(&format!("repo/{name}"), &url);
    }
    here.settings(
        "[credential]\n helper = store --file=.git/other\n helper = store --file store\n[http]\n cookieFile = jar\n",
    );
    let there = here.send("repo");
    there.assert_whole();
    assert_eq!(
        there.notes,
        [
            "credentials stay on this machine: .git/.git-credentials; in .git/config: credential.helper, http.cookiefile; .git/config.bak; \
          .git/config~; .git/credentials; .git/jar; .git/other; .git/store; .git-credentials"
        ]
    );
}

#[test]
fn settings_that_are_links_are_looked_at_where_they_lead() {
    let here = Here::new();
    fs::rename(here.path("repo/.git/config"), here.path("repo/settings")).unwrap();
    std::os::unix::fs::symlink("../settings", here.path("repo/.git/config")).unwrap();
    here.git("repo", &["config", "http.extraheader", SECRET]);
    here.git("repo", &["config", "user.name", "me"]);
    let there = here.send("repo");
    assert_eq!(there.git(&["status", "--porcelain"]), "?? settings");
    assert_eq!(there.git(&["config", "user.name"]), "me");
}

#[test]
fn what_git_notes_about_its_fetches_has_no_credentials() {
    let here = Here::new();
    here.write("repo/.git/FETCH_HEAD", &format!("0000\t\tbranch 'main' of https://me:{SECRET}@example.org/a\n"));
    let log = fs::read_to_string(here.path("repo/.git/logs/HEAD")).unwrap();
    let line =
        log.replace("commit (initial): first", &format!("pull https://me:{SECRET}@example.org/a main: Fast-forward"));
    here.write("repo/.git/logs/HEAD", &line);
    here.write("repo/.git/MERGE_MSG", &format!("Merge branch 'x' of https://{SECRET}@example.org/a\n"));
    here.write("repo/.git/remotes/old", &format!("URL: https://me:{SECRET}@example.org/a\n"));
    here.write("repo/.git/branches/older", &format!("https://me:{SECRET}@example.org/a\n"));
    let there = here.send("repo");
    there.assert_whole();
    assert_eq!(there.git(&["reflog", "--format=%gs"]), "pull https://example.org/a main: Fast-forward");
    assert_eq!(there.git(&["remote", "get-url", "old"]), "https://example.org/a");
}

#[test]
fn submodules_and_repositories_below_are_looked_at_too() {
    let here = Here::new();
    here.repository("library");
    here.repository("repo/vendor/other");
    let library = here.path("library").display().to_string();
    here.git("repo", &["submodule", "--quiet", "add", "--name", "deep/library", &library, "library"]);
    here.write("repo/.gitignore", "vendor\n");
    here.git("repo", &["add", "."]);
    here.git("repo", &["commit", "--quiet", "--amend", "-m", "first"]);
    here.git("repo", &["tag", "--force", "v1"]);
    here.git("repo/library", &["config", "remote.origin.url", &format!("https://{SECRET}@example.org/l")]);
    here.git("repo/library", &["config", "http.extraheader", SECRET]);
    let there = here.send("repo");
    there.assert_whole();
    assert_eq!(
        git(&there.dir.path().join("library"), &["config", "remote.origin.url"]).unwrap(),
        "https://example.org/l"
    );
    assert_eq!(git(&there.dir.path().join("library"), &["describe", "--tags"]).unwrap(), "v1");
    assert_eq!(
        there.notes,
        ["credentials stay on this machine: in .git/modules/deep/library/config: http.extraheader, \
          the name and password in remote.origin.url"]
    );
}

#[test]
fn bare_repositories_among_the_sources_are_looked_at_and_else_left_alone() {
    let here = Here::new();
    for name in ["fixture.git", "cache.git"] {
        here.git("repo", &["clone", "--quiet", "--bare", ".", name]);
        here.git(&format!("repo/{name}"), &["remote", "remove", "origin"]);
    }
    here.git("repo/cache.git", &["config", "http.extraheader", SECRET]);
    let there = here.send("repo");
    let fixture = |dir: &Path| fs::read(dir.join("fixture.git/config")).unwrap();
    assert_eq!(fixture(there.dir.path()), fixture(&here.path("repo")));
    assert_eq!(there.notes, ["credentials stay on this machine: in cache.git/config: http.extraheader"]);
    assert_eq!(git(&there.dir.path().join("cache.git"), &["describe", "--tags", "main"]).unwrap(), "v1");
}

#[test]
fn a_source_file_with_the_name_of_a_helper_is_sent() {
    let here = Here::new();
    here.settings("[credential]\n helper = store\n");
    here.write("repo/store", "x");
    assert!(here.send("repo").dir.path().join("store").exists());
}

#[test]
fn a_worktree_arrives_as_a_repository_of_its_own() {
    let here = Here::new();
    here.settings(&format!("[remote \"origin\"]\n url = https://{SECRET}@example.org/a\n"));
    here.git("repo", &["config", "extensions.worktreeConfig", "true"]);
    here.git("repo", &["worktree", "add", "--quiet", "-b", "side", "../tree"]);
    here.git("tree", &["config", "--worktree", "http.extraheader", SECRET]);
    here.git("tree", &["config", "--worktree", "user.name", "me"]);
    let there = here.send("tree");
    there.assert_whole();
    assert_eq!(there.git(&["branch", "--show-current"]), "side");
    assert_eq!(there.git(&["config", "user.name"]), "me");
    assert_eq!(there.git(&["config", "remote.origin.url"]), "https://example.org/a");
}

#[test]
fn a_worktree_of_a_bare_repository_and_a_submodule_alone_arrive_as_repositories() {
    let here = Here::new();
    here.git(".", &["clone", "--quiet", "--bare", "repo", "bare"]);
    here.git("bare", &["worktree", "add", "--quiet", "../tree", "main"]);
    here.send("tree").assert_whole();
    here.repository("library");
    let library = here.path("library").display().to_string();
    here.git("repo", &["submodule", "--quiet", "add", &library, "library"]);
    here.send("repo/library").assert_whole();
}

#[test]
fn settings_that_git_cannot_read_stay_here_and_the_rest_works() {
    let here = Here::new();
    here.settings(&format!("[broken {SECRET}\n"));
    let there = here.send("repo");
    there.assert_whole();
    let note = there.notes.last().unwrap();
    assert!(note.starts_with(".git/config is not sent, because git could not read it: "), "{note}");
}

#[test]
fn a_repository_that_leads_nowhere_is_told() {
    let here = Here::new();
    here.write("lost/.git", "gitdir: /nonexistent\n");
    assert_eq!(here.send("lost").notes, ["git does not work in the copy: .git leads nowhere"]);
}
