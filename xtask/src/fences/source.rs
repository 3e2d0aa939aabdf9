//! Rules for the content of source files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo;

/// Module names that say nothing about the content.
const NAMELESS: &[&str] = &["utils", "util", "common", "helpers", "manager", "misc"];

/// Texts that name an operating system.
const SYSTEM: &[&str] = &["std::os::", "nix::", "libc::", "\"/proc/", "\"/sys/", "\"/etc/", "\"/dev/"];

/// The agent, which has to run on more than one system, and the only folder where it may name one.
const AGENT: &str = "crates/agent/src/";
const AGENT_OS: &str = "crates/agent/src/os/";

/// Allowed languages of blocks in documentation comments. rustdoc takes any other block for a test, and the suite does
/// not run those.
const BLOCKS: &[&str] = &["text", "json", "yaml", "toml", "sh", "sql"];

/// Returns the breaches, in words.
pub fn check() -> Result<Vec<String>> {
    let root = cargo::root();
    let mut files = Vec::new();
    for directory in ["crates", "xtask"] {
        rust_files(&root.join(directory), &mut files)?;
    }
    files.sort_unstable();
    let mut breaches = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        breaches.extend(breaches_of(&path, &text));
    }
    Ok(breaches)
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the breaches of one file. `path` is relative to the root.
fn breaches_of(path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let stem = Path::new(path).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let platform =
        path.split('/').any(|part| matches!(part, "unix" | "windows")) || matches!(stem.as_str(), "unix" | "windows");
    let may_name_system = !path.starts_with(AGENT) || path.starts_with(AGENT_OS);
    let checker = path.starts_with("xtask/src/fences");
    if path.split(['/', '.']).any(|part| NAMELESS.contains(&part)) {
        breaches.push(format!("{path}: name it after what it does"));
    }
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut breach = |what: &str| breaches.push(format!("{path}:{}: {what}", index + 1));
        if !platform && !checker && (has_word(code, "unsafe") || code.contains("allow(unsafe_code)")) {
            breach("unsafe code belongs in unix.rs or windows.rs, or a folder of that name");
        }
        if !may_name_system && SYSTEM.iter().any(|name| code.contains(name)) {
            breach("only crates/agent/src/os names an operating system");
        }
        if let Some(kind) = block_border(line) {
            if !in_block && !BLOCKS.contains(&kind) {
                breach("say what this block is, as in ```text: documentation tests are not run");
            }
            in_block = !in_block;
        }
        if !path.starts_with("crates/tls/") && !checker && (code.contains("crypto::ring") || code.contains("aws_lc_rs"))
        {
            breach("only crates/tls names a crypto provider");
        }
    }
    breaches
}

/// Returns the text after the mark that begins or ends a block in a documentation comment.
fn block_border(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?.trim().strip_prefix("```")
}

/// Returns whether a word stands alone in the line, outside of a string.
fn has_word(code: &str, word: &str) -> bool {
    let outside: String = code.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    outside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(breaches_of(path, text), expected);
    }

    #[test]
    fn unsafe_stays_in_platform_code() {
        check("crates/a/src/unix.rs", "unsafe { f() }", &[]);
        check("crates/a/src/os/unix/child.rs", "unsafe { f() }", &[]);
        check(
            "crates/a/src/lib.rs",
            "let x = 1;\nunsafe { f() }",
            &["crates/a/src/lib.rs:2: unsafe code belongs in unix.rs or windows.rs, or a folder of that name"],
        );
    }

    #[test]
    fn the_agent_names_its_operating_system_in_one_place() {
        let told = ["crates/agent/src/spool.rs:1: only crates/agent/src/os names an operating system"];
        for line in ["use std::os::unix::fs::FileExt as _;", "nix::unistd::sync();", "read(\"/proc/stat\")"] {
            check("crates/agent/src/spool.rs", line, &told);
            check("crates/agent/src/os/unix/load.rs", line, &[]);
            check("crates/driver-qemu/src/vm.rs", line, &[]);
        }
        check("crates/agent/src/spool.rs", "// as in /proc/stat\nuse tokio::net::TcpStream;", &[]);
    }

    #[test]
    fn words_in_comments_and_strings_are_no_code() {
        check("crates/a/src/lib.rs", "// unsafe\nlet s = \"unsafe\"; let unsafe_code = 1;", &[]);
    }

    #[test]
    fn a_block_in_documentation_is_no_test() {
        check("crates/a/src/lib.rs", "//! ```text\n//! a\n//! ```\n/// ```json\n/// {}\n/// ```", &[]);
        let told = "say what this block is, as in ```text: documentation tests are not run";
        check("crates/a/src/lib.rs", "/// ```\n/// f();\n/// ```", &[&format!("crates/a/src/lib.rs:1: {told}")]);
        check("crates/a/src/lib.rs", "    /// ```no_run\n    /// ```", &[&format!("crates/a/src/lib.rs:1: {told}")]);
    }

    #[test]
    fn only_tls_names_a_provider() {
        check("crates/tls/src/config.rs", "rustls::crypto::ring::default_provider()", &[]);
        check(
            "crates/cli/src/main.rs",
            "rustls::crypto::ring::default_provider()",
            &["crates/cli/src/main.rs:1: only crates/tls names a crypto provider"],
        );
    }

    #[test]
    fn a_place_has_a_name() {
        check("crates/a/src/utils.rs", "", &["crates/a/src/utils.rs: name it after what it does"]);
        check("crates/a/src/common/mod.rs", "", &["crates/a/src/common/mod.rs: name it after what it does"]);
    }
}
