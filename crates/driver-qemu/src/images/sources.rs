//! Where packages come from: the host's own apt configuration, reduced to the distribution's own archives.

use std::path::Path;

use crate::error::QemuError;

/// The release and the archives to build an image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archives {
    /// `debian` or `ubuntu`.
    pub(crate) distribution: String,
    /// As in `bookworm`.
    pub(crate) codename: String,
    /// One-line format.
    pub(crate) lines: Vec<String>,
}

/// One archive as apt names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

impl Archives {
    /// Reads the host's release and its package sources; `given` lines replace the latter.
    pub(crate) fn of_host(root: &Path, given: Option<&[String]>) -> Result<Self, QemuError> {
        let release = std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
        let (distribution, codename) = parse_release(&release)?;
        if let Some(lines) = given {
            // The release of given sources is theirs, not the host's.
            let codename =
                lines.iter().find_map(|line| parse_line(line)?.suites.into_iter().next()).unwrap_or(codename);
            return Ok(Self { distribution, codename, lines: lines.to_vec() });
        }
        let lines = distribution_lines(&read_entries(&root.join("etc/apt")), &codename);
        if lines.is_empty() {
            return Err(QemuError::NoMirror(format!(
                "no package archive of {distribution} {codename} in /etc/apt: add one there, or name one with \
                 `kiln image build --source 'deb URL {codename} main'`"
            )));
        }
        Ok(Self { distribution, codename, lines })
    }

    /// The package that brings the smallest kernel for VMs.
    pub(crate) fn kernel_package(&self) -> &'static str {
        if self.distribution == "ubuntu" { "linux-image-virtual" } else { "linux-image-cloud-amd64" }
    }
}

fn parse_release(text: &str) -> Result<(String, String), QemuError> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    let id = field("ID").unwrap_or_default();
    match field("VERSION_CODENAME") {
        Some(codename) if id == "debian" || id == "ubuntu" => Ok((id, codename)),
        _ => Err(QemuError::NoMirror(format!(
            "this host is `{id}`, and images are built on Debian or Ubuntu: import a cloud image with `kiln image import`"
        ))),
    }
}

fn read_entries(apt: &Path) -> Vec<Entry> {
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<_> = std::fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    files.extend(parts);
    let mut entries = Vec::new();
    for file in files {
        // A file that is not there or may not be read names no archive.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => entries.extend(text.lines().filter_map(parse_line)),
            Some("sources") => entries.extend(parse_stanzas(&text)),
            _ => {}
        }
    }
    entries
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry { uris: vec![words.next()?], suites: vec![words.next()?], components: words.collect(), signed_by })
}

fn parse_stanzas(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for stanza in text.split("\n\n") {
        let lines: Vec<&str> = stanza.lines().filter(|line| !line.starts_with('#')).collect();
        let field = |name: &str| {
            let value = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        if field("Types").contains(&"deb".to_owned()) && field("Enabled") != ["no"] {
            // A key may also stand in the field itself, over several lines; then the host's default keys must do.
            let signed_by = field("Signed-By").into_iter().next().filter(|key| key.starts_with('/'));
            entries.push(Entry {
                uris: field("URIs"),
                suites: field("Suites"),
                components: field("Components"),
                signed_by,
            });
        }
    }
    entries
}

/// The lines of the distribution itself: other vendors' archives have other suites or no `main`.
fn distribution_lines(entries: &[Entry], codename: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| entry.components.iter().any(|c| c == "main")) {
        for suite in &entry.suites {
            let ours =
                suite == codename || ["-updates", "-security"].iter().any(|s| *suite == format!("{codename}{s}"));
            if !ours {
                continue;
            }
            let components: Vec<&str> =
                entry.components.iter().map(String::as_str).filter(|c| ["main", "universe"].contains(c)).collect();
            let options = entry.signed_by.as_ref().map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
            for uri in &entry.uris {
                let line = format!("deb {options}{uri} {suite} {}", components.join(" "));
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expect: &str) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("create");
            std::fs::write(path, text).expect("write");
        }
        let found = match Archives::of_host(root.path(), None) {
            Ok(archives) => format!("{} {}\n{}", archives.distribution, archives.codename, archives.lines.join("\n")),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expect);
    }

    const BOOKWORM: (&str, &str) = ("etc/os-release", "NAME=\"x\"\nVERSION_CODENAME=bookworm\nID=debian\n");

    #[test]
    fn stanzas_and_lines_are_read_and_other_vendors_left_out() {
        let stanzas = "Types: deb\n# a comment\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
                       Components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.test/sec\n\
                       Suites: bookworm-security\nComponents: main\n\nTypes: deb-src\nURIs: http://mirror.test/src\n\
                       Suites: bookworm\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.test/\n\
                       Suites: bookworm\nComponents: main\n";
        let vendor = "deb [arch=amd64 signed-by=/v.gpg] http://vendor.test/apt bookworm stable\n\
                      deb http://vendor.test/sdk cloud-sdk-bookworm main\n";
        check(
            &[BOOKWORM, ("etc/apt/sources.list.d/debian.sources", stanzas), ("etc/apt/sources.list.d/v.list", vendor)],
            "debian bookworm\ndeb [signed-by=/k.gpg] http://mirror.test/debian bookworm main\n\
             deb [signed-by=/k.gpg] http://mirror.test/debian bookworm-updates main\n\
             deb http://mirror.test/sec bookworm-security main",
        );
        let classic =
            "# deb http://no.test bookworm main\ndeb http://mirror.test/debian bookworm main non-free # note\n";
        let expect = "debian bookworm\ndeb http://mirror.test/debian bookworm main";
        check(&[BOOKWORM, ("etc/apt/sources.list", classic)], expect);
    }

    #[test]
    fn ubuntu_takes_universe_too() {
        let release = ("etc/os-release", "ID=ubuntu\nVERSION_CODENAME=noble\n");
        let list = "deb http://mirror.test/ubuntu noble main restricted universe multiverse\n";
        let expect = "ubuntu noble\ndeb http://mirror.test/ubuntu noble main universe";
        check(&[release, ("etc/apt/sources.list", list)], expect);
    }

    #[test]
    fn what_is_missing_is_said() {
        check(
            &[BOOKWORM],
            "no package archive of debian bookworm in /etc/apt: add one there, or name one with \
             `kiln image build --source 'deb URL bookworm main'`",
        );
        check(
            &[("etc/os-release", "ID=fedora\n")],
            "this host is `fedora`, and images are built on Debian or Ubuntu: import a cloud image with `kiln image import`",
        );
    }
}
