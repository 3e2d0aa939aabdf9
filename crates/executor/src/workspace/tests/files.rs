//! Which files arrive.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Git where none is installed.
fn none() -> Git {
    Git::named("/nonexistent/git")
}

#[test]
fn no_pattern_takes_anything_from_a_repository() {
    for pattern in ["tags", "config", ".*", "*", "objects/", "HEAD", ".git", ".git/", "/.git/refs"] {
        let here = Here::new();
        here.write("repo/.gitignore", &format!("{pattern}\n"));
        here.git("repo", &["add", "--force", ".gitignore"]);
        here.git("repo", &["commit", "--quiet", "--amend", "-m", "first"]);
        here.git("repo", &["tag", "--force", "v1"]);
        for git in [Git::default(), none()] {
            let there = here.send_with("repo", &git);
            assert!(there.dir.path().join(".git/refs/tags/v1").exists(), "{pattern}");
        }
        here.send("repo").assert_whole();
    }
}

#[test]
fn files_that_search_tools_read_hide_nothing() {
    let here = Here::new();
    for name in [".ignore", ".rgignore", ".fdignore", "deep/.ignore"] {
        here.write(&format!("repo/{name}"), "*\n");
        here.write(&format!("plain/{name}"), "*\n");
    }
    here.write("plain/a.txt", "");
    assert_eq!(here.send("repo").names(), [".fdignore", ".ignore", ".rgignore", "a.txt", "deep/.ignore"]);
    assert_eq!(here.send("plain").names(), [".fdignore", ".ignore", ".rgignore", "a.txt", "deep/.ignore"]);
}

#[test]
fn patterns_above_a_repository_and_above_a_folder_without_one_do_not_count() {
    let here = Here::new();
    here.write(".gitignore", "*\n");
    here.write("plain/a.txt", "");
    for git in [Git::default(), none()] {
        assert_eq!(here.send_with("repo", &git).names(), ["a.txt"]);
        assert_eq!(here.send_with("plain", &git).names(), ["a.txt"]);
    }
}

#[test]
fn a_part_of_a_repository_follows_the_patterns_of_the_whole_and_says_that_git_is_missing() {
    let here = Here::new();
    here.write("repo/.gitignore", "*.o\n/part/build/\n");
    for name in ["part/a.c", "part/a.o", "part/build/x", "part/deep/b.c", "part/forced.o"] {
        here.write(&format!("repo/{name}"), "");
    }
    here.git("repo", &["add", "--force", "part/forced.o"]);
    let there = here.send("repo/part");
    assert_eq!(there.names(), ["a.c", "deep/b.c", "forced.o"]);
    let whole = here.path("repo").canonicalize().unwrap();
    let note =
        format!("git does not work in the copy, because only a part of the repository {} is sent", whole.display());
    assert_eq!(there.notes, std::slice::from_ref(&note));
    let there = here.send_with("repo/part", &none());
    assert_eq!(there.names(), ["a.c", "deep/b.c"]);
    assert_eq!(there.notes[0], note);
}

#[test]
fn a_folder_that_its_repository_ignores_is_sent_when_it_is_asked_for() {
    let here = Here::new();
    here.write("repo/.gitignore", "/build/\n:*\n");
    for name in ["repo/build/deep", "repo/:(odd) [x]*"] {
        here.write(&format!("{name}/a.txt"), "");
        for git in [Git::default(), none()] {
            assert_eq!(here.send_with(name, &git).names(), ["a.txt"]);
        }
        assert_eq!(here.send(name).notes, Vec::<String>::new());
    }
}

#[test]
fn without_git_patterns_decide_and_it_is_said_once() {
    let here = Here::new();
    here.write("repo/.gitignore", "*.o\n");
    here.write("repo/a.o", "");
    here.write("repo/src/b.c", "");
    here.repository("repo/other");
    let there = here.send_with("repo", &none());
    assert_eq!(there.names(), [".gitignore", "a.txt", "other/a.txt", "src/b.c"]);
    let said: Vec<_> = there.notes.iter().filter(|note| note.contains("is not installed: ")).collect();
    assert_eq!(
        said,
        [
            "git is not installed: patterns of .gitignore decide what is sent, and tracked files that they name are missing"
        ]
    );
    here.write("plain/.gitignore", "*.o\n");
    here.write("plain/a.o", "");
    let there = here.send_with("plain", &none());
    assert_eq!(there.names(), [".gitignore"]);
    assert_eq!(there.notes, Vec::<String>::new());
}

#[test]
fn a_repository_of_another_user_is_sent_as_git_lists_it() {
    let here = Here::new();
    here.write("repo/.gitignore", "*.jar\n");
    here.write("repo/a.jar", "");
    here.git("repo", &["add", "--force", "a.jar"]);
    let path = here.path("repo");
    for path in [path.join(".git"), path.clone()] {
        // Only root can give files away; for others the repository stays their own.
        drop(std::os::unix::fs::chown(path, Some(12345), None));
    }
    let there = here.send("repo");
    assert_eq!(there.names(), [".gitignore", "a.jar", "a.txt"]);
    assert_eq!(there.notes, Vec::<String>::new());
}

#[test]
fn names_may_have_any_bytes() {
    let here = Here::new();
    let names: [&[u8]; 8] = [b"a\nb", b"c\td", b"\"q\"", b"-x", b" lead", b"trail ", b"\xff\xfe", b"100644 x 0\ty"];
    for name in names {
        for folder in ["repo", "repo/tracked", "repo/dir"] {
            fs::create_dir_all(here.path(folder)).unwrap();
            fs::write(here.path(folder).join(OsStr::from_bytes(name)), name).unwrap();
        }
    }
    here.git("repo", &["add", "tracked"]);
    let there = here.send("repo");
    for name in names {
        for folder in ["", "tracked", "dir"] {
            let arrived = there.dir.path().join(folder).join(OsStr::from_bytes(name));
            assert_eq!(fs::read(arrived).unwrap(), name, "{folder}");
        }
    }
    there.assert_like(&here.path("repo"));
}

#[test]
fn links_and_the_right_to_execute_arrive_and_other_things_do_not() {
    let here = Here::new();
    here.write("repo/run.sh", "#!/bin/sh\n");
    fs::set_permissions(here.path("repo/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    for (target, name) in [("a.txt", "to-file"), ("deep", "to-folder"), ("/nonexistent", "to-nothing")] {
        symlink(target, here.path("repo").join(name)).unwrap();
    }
    here.write("repo/deep/b", "");
    here.git("repo", &["add", "."]);
    let _socket = std::os::unix::net::UnixListener::bind(here.path("repo/socket")).unwrap();
    let there = here.send("repo");
    let mode = fs::metadata(there.dir.path().join("run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    for name in ["to-file", "to-folder", "to-nothing"] {
        assert_eq!(
            fs::read_link(there.dir.path().join(name)).unwrap(),
            fs::read_link(here.path("repo").join(name)).unwrap()
        );
    }
    assert!(!there.dir.path().join("socket").exists());
    there.assert_like(&here.path("repo"));
}

#[test]
fn tracked_files_that_are_gone_or_replaced_are_as_they_are_here() {
    let here = Here::new();
    for name in ["gone", "folder/a", "folder/b", "linked/a", "file"] {
        here.write(&format!("repo/{name}"), "x");
    }
    here.git("repo", &["add", "."]);
    here.git("repo", &["commit", "--quiet", "-m", "second"]);
    fs::remove_file(here.path("repo/gone")).unwrap();
    fs::remove_dir_all(here.path("repo/folder")).unwrap();
    // A folder becomes a link to another, and a file becomes a folder.
    fs::rename(here.path("repo/linked"), here.path("repo/moved")).unwrap();
    symlink("moved", here.path("repo/linked")).unwrap();
    fs::remove_file(here.path("repo/file")).unwrap();
    here.write("repo/file/inside", "");
    let there = here.send("repo");
    assert_eq!(there.names(), ["a.txt", "file/inside", "linked", "moved/a"]);
    there.assert_like(&here.path("repo"));
}

#[test]
fn what_is_ignored_is_told_with_its_size() {
    let here = Here::new();
    here.write("repo/.gitignore", "target/\n.env\n*.o\n/empty/\n");
    here.write("repo/target/deep/big", &"x".repeat(1_500_000));
    here.write("repo/.env", "A=1\n");
    here.write("repo/src/a.o", "xx");
    here.write("repo/src/a.c", "");
    fs::create_dir(here.path("repo/empty")).unwrap();
    let told = "not sent, because it is ignored: target (1.4 MiB), .env (4 B), src/a.o (2 B); 1.4 MiB together";
    for git in [Git::default(), none()] {
        assert_eq!(here.send_with("repo", &git).left.as_deref(), Some(told));
    }
    here.git("repo", &["add", "--force", ".env", "src"]);
    assert_eq!(here.send("repo").left.as_deref(), Some("not sent, because it is ignored: target (1.4 MiB)"));
    fs::remove_dir_all(here.path("repo/target")).unwrap();
    assert_eq!(here.send("repo").left, None);
}

#[test]
fn the_tree_is_packed_without_what_git_ignores() {
    let here = Here { dir: tempfile::tempdir().unwrap() };
    for (name, text) in [(".gitignore", "*.o\n"), ("src/a.c", "int a;"), ("src/a.o", "x"), ("src/deep/b", "")] {
        here.write(&format!("plain/{name}"), text);
    }
    symlink("a.c", here.path("plain/src/link")).unwrap();
    let there = here.send("plain");
    let names: Vec<String> = there.files().into_keys().collect();
    assert_eq!(names, [".gitignore", "src/a.c", "src/deep/b", "src/link"]);
    assert_eq!(there.notes, Vec::<String>::new());
}

#[test]
fn patterns_that_git_ignores_leave_the_repository_and_tracked_files_alone() {
    let here = Here::new();
    here.write("repo/lib/wrapper.jar", "jar");
    here.write("repo/lib/other.jar", "jar");
    here.write("repo/.gitignore", "*.jar\n.git\n");
    here.write("repo/.ignore", "a.txt\n");
    here.git("repo", &["add", "--force", "lib/wrapper.jar", ".gitignore", ".ignore"]);
    here.git("repo", &["commit", "--quiet", "--amend", "-m", "first"]);
    here.git("repo", &["tag", "--force", "v1"]);
    here.write("repo/.git/info/exclude", "tags\nconfig\nlogs\nobjects\n");
    let there = here.send("repo");
    there.assert_whole();
    assert!(there.dir.path().join("lib/wrapper.jar").exists());
    assert!(!there.dir.path().join("lib/other.jar").exists());
}
