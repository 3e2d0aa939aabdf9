//! Repositories of all kinds, as they arrive.

use std::fs;

use super::*;

#[test]
fn the_index_is_known_to_be_right_when_it_arrives() {
    let here = Here::new();
    here.git("repo", &["update-index", "--refresh"]);
    let there = here.send("repo");
    there.git(&["diff-index", "--quiet", "HEAD", "--"]);
    there.git(&["diff-files", "--quiet"]);
    assert_eq!(there.git(&["describe", "--tags", "--dirty"]), "v1");
}

#[test]
fn sparse_checkouts_and_files_that_git_shall_not_look_at_stay_so() {
    let here = Here::new();
    for name in ["in/a", "out/a", "assumed", "skipped"] {
        here.write(&format!("repo/{name}"), "x");
    }
    here.git("repo", &["add", "."]);
    here.git("repo", &["commit", "--quiet", "-m", "second"]);
    for (flag, name) in [("--assume-unchanged", "assumed"), ("--skip-worktree", "skipped")] {
        here.git("repo", &["update-index", flag, name]);
        here.write(&format!("repo/{name}"), "changed here");
    }
    here.send("repo").assert_like(&here.path("repo"));
    here.git("repo", &["update-index", "--no-skip-worktree", "skipped"]);
    here.git("repo", &["checkout", "--quiet", "skipped"]);
    for index in [&["--no-sparse-index"][..], &["--sparse-index"]] {
        let set = [&["sparse-checkout", "set", "--cone"], index, &["in"]].concat();
        here.git("repo", &set);
        let there = here.send("repo");
        assert_eq!(there.names(), ["a.txt", "assumed", "in/a", "skipped"]);
        there.assert_like(&here.path("repo"));
    }
}

#[test]
fn a_merge_with_conflicts_arrives_as_it_is() {
    let here = Here::new();
    for (branch, text) in [("one", "1\n"), ("two", "2\n")] {
        here.git("repo", &["checkout", "--quiet", "-b", branch, "v1"]);
        here.write("repo/a.txt", text);
        here.git("repo", &["commit", "--quiet", "-a", "-m", branch]);
    }
    git(&here.path("repo"), &["merge", "one"]).unwrap_err();
    let there = here.send("repo");
    there.assert_like(&here.path("repo"));
    assert_eq!(there.git(&["status", "--porcelain"]), "UU a.txt");
    // Another worktree of the same repository has no part in it.
    here.git("repo", &["worktree", "add", "--quiet", "--detach", "../tree", "v1"]);
    let there = here.send("tree");
    there.assert_like(&here.path("tree"));
    assert!(!there.dir.path().join(".git/MERGE_HEAD").exists());
}

#[test]
fn a_worktree_with_submodules_a_lock_and_a_detached_head_arrives_whole() {
    let here = Here::new();
    here.repository("library");
    let library = here.path("library").display().to_string();
    here.git("repo", &["submodule", "--quiet", "add", &library, "library"]);
    here.git("repo", &["commit", "--quiet", "-m", "with a library"]);
    here.git("repo", &["worktree", "add", "--quiet", "--detach", "../tree"]);
    here.git("repo", &["worktree", "lock", "../tree"]);
    here.git("tree", &["submodule", "--quiet", "update", "--init"]);
    let there = here.send("tree");
    there.assert_like(&here.path("tree"));
    assert_eq!(git(&there.dir.path().join("library"), &["describe", "--tags"]).unwrap(), "v1");
}

#[test]
fn a_worktree_inside_of_the_tree_works_there_too() {
    let here = Here::new();
    here.git("repo", &["worktree", "add", "--quiet", "-b", "side", "trees/side"]);
    let there = here.send("repo");
    there.assert_like(&here.path("repo"));
    let side = there.dir.path().join("trees/side");
    assert_eq!(git(&side, &["status", "--porcelain", "--branch"]).unwrap(), "## side");
}

#[test]
fn objects_that_a_repository_borrows_are_sent() {
    let here = Here::new();
    let old = here.path("repo").display().to_string();
    here.git(".", &["clone", "--quiet", "--shared", &old, "second"]);
    here.write("second/b.txt", "b");
    here.git("second", &["add", "."]);
    here.git("second", &["commit", "--quiet", "-m", "second"]);
    here.git("second", &["gc", "--quiet"]);
    here.git("repo", &["gc", "--quiet"]);
    here.git(".", &["clone", "--quiet", "--shared", "second", "third"]);
    here.git("third", &["worktree", "add", "--quiet", "--detach", "../tree"]);
    for name in ["third", "tree"] {
        let there = here.send(name);
        let hidden = here.path("hidden");
        for lender in ["repo", "second", "third"] {
            fs::create_dir_all(&hidden).unwrap();
            fs::rename(here.path(lender), hidden.join(lender)).unwrap();
        }
        assert_eq!(there.git(&["log", "--format=%s"]), "second\nfirst");
        there.git(&["fsck", "--strict", "--no-dangling"]);
        assert_eq!(there.git(&["describe", "--tags"]).split('-').next(), Some("v1"));
        for lender in ["repo", "second", "third"] {
            fs::rename(hidden.join(lender), here.path(lender)).unwrap();
        }
    }
}

#[test]
fn repositories_below_are_sent_as_git_lists_them_wherever_they_lie() {
    let here = Here::new();
    for root in ["repo", "plain"] {
        here.repository(&format!("{root}/deep/other"));
        here.write(&format!("{root}/deep/other/.gitignore"), "*.jar\n");
        here.write(&format!("{root}/deep/other/tracked.jar"), "");
        here.write(&format!("{root}/deep/other/ignored.jar"), "");
        here.git(&format!("{root}/deep/other"), &["add", "--force", "tracked.jar"]);
        let there = here.send(root);
        let names = ["deep/other/.gitignore", "deep/other/a.txt", "deep/other/tracked.jar"];
        assert_eq!(there.names().iter().filter(|name| name.starts_with("deep")).collect::<Vec<_>>(), names);
        assert_eq!(git(&there.dir.path().join("deep/other"), &["describe", "--tags"]).unwrap(), "v1");
        let told = "not sent, because it is ignored: deep/other/ignored.jar (0 B)";
        assert_eq!(there.left.as_deref(), Some(told));
    }
}

#[test]
fn the_place_of_a_submodule_that_is_not_there_is_sent_with_what_fills_it() {
    let here = Here::new();
    here.repository("library");
    let library = here.path("library").display().to_string();
    for name in ["empty", "filled"] {
        here.git("repo", &["submodule", "--quiet", "add", &library, name]);
    }
    here.git("repo", &["commit", "--quiet", "-m", "with libraries"]);
    here.git(".", &["clone", "--quiet", "repo", "again"]);
    here.write("again/filled/b.txt", "");
    let there = here.send("again");
    assert_eq!(there.names(), [".gitmodules", "a.txt", "filled/b.txt"]);
    assert!(there.dir.path().join("empty").is_dir());
    there.assert_like(&here.path("again"));
}

#[test]
fn files_of_credentials_in_a_bare_repository_stay_here() {
    let here = Here::new();
    here.git("repo", &["clone", "--quiet", "--bare", ".", "bare.git"]);
    here.write("repo/bare.git/credentials", SECRET);
    here.git("repo", &["add", "--force", "bare.git"]);
    let there = here.send("repo");
    assert_eq!(there.notes, ["credentials stay on this machine: bare.git/credentials"]);
}
