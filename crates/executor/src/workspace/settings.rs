//! A repository's configuration without credentials.
//!
//! Git itself reads the file, and the copy is written anew from what git read, so that neither a comment nor a form of writing that
//! only git knows carries anything along.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::url::without_credentials;

/// Sections that are about proving who the user is.
const SECTIONS: &[&str] = &["credential", "imap"];
/// Settings of any section that are about it, too: headers with tokens, cookies, keys, programs that ask for passwords.
const SETTINGS: &[&str] = &[
    "http.extraheader",
    "http.cookiefile",
    "http.sslkey",
    "http.sslcert",
    "http.proxysslkey",
    "http.proxysslcert",
    "core.sshcommand",
    "core.gitproxy",
];
/// Settings that say where the tree is on this machine, and so say nothing in a copy whose repository lies elsewhere.
const MOVED: &[&str] = &["core.worktree", "core.bare"];
/// What stands in the names of settings of other programs that hold a secret.
const WORDS: &[&str] =
    &["token", "passw", "passphrase", "askpass", "smtppass", "secret", "apikey", "privatekey", "credential"];
/// What stands in values, and in URLs, that hold one.
const IN_VALUES: &[&str] = &["authorization:", "bearer ", "private-token:", "password=", "token="];
/// Where a helper that keeps credentials in a file names it.
const STORE_FILE: &str = "--file";

/// One setting, as git reads it.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    section: String,
    subsection: Option<String>,
    name: String,
    /// None where only the name is written, which means true.
    value: Option<String>,
}

/// A configuration that may be sent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sent {
    /// The file's text.
    pub(super) text: String,
    /// The settings that were left out or cut, without their values.
    pub(super) left_out: BTreeSet<String>,
    /// The files that it includes and that are sent too.
    pub(super) included: Vec<PathBuf>,
    /// The files that hold credentials.
    pub(super) stores: Vec<PathBuf>,
}

/// Where a configuration lies, and what of it is sent.
pub(super) struct Place<'a> {
    /// The file.
    pub(super) file: &'a Path,
    /// The tree that is sent.
    pub(super) root: &'a Path,
    /// Whether the repository lies elsewhere in the copy.
    pub(super) moved: bool,
}

/// Reads a configuration and leaves out what is secret.
///
/// # Errors
/// When git is not installed, or cannot read the file.
pub(super) fn read(place: &Place<'_>) -> io::Result<Sent> {
    let mut sent = Sent::default();
    let mut section = String::new();
    for setting in list(place.file)? {
        let Some(setting) = keep(setting, place, &mut sent) else { continue };
        let header = header(&setting);
        if header != section {
            let _infallible = writeln!(sent.text, "{header}");
            section = header;
        }
        let _infallible = match &setting.value {
            Some(value) => writeln!(sent.text, "\t{} = {}", setting.name, quoted(value)),
            None => writeln!(sent.text, "\t{}", setting.name),
        };
    }
    Ok(sent)
}

/// Returns a setting as it is sent, if it is.
fn keep(mut setting: Setting, place: &Place<'_>, sent: &mut Sent) -> Option<Setting> {
    let key = format!("{}.{}", setting.section, setting.name);
    let value = setting.value.clone().unwrap_or_default();
    match key.as_str() {
        "credential.helper" => {
            sent.stores.extend(value.split_once(STORE_FILE).map(|(_, path)| stores(path, place)).unwrap_or_default())
        }
        "http.cookiefile" => sent.stores.extend(stores(&value, place)),
        _ => {}
    }
    if place.moved && MOVED.contains(&key.as_str()) {
        return None;
    }
    let mut out = is_secret(&setting, &key, &value);
    if matches!(setting.section.as_str(), "include" | "includeif") {
        match included(&value, place) {
            Some(file) => sent.included.push(file),
            None => out = true,
        }
    }
    if out {
        sent.left_out.insert(shown(&setting));
        return None;
    }
    let subsection = setting.subsection.as_deref().and_then(without_credentials);
    let value = without_credentials(&value).or_else(|| setting.name.ends_with("proxy").then(|| bare_host(&value))?);
    if subsection.is_some() || value.is_some() {
        sent.left_out.insert(format!("the name and password in {}", shown(&setting)));
    }
    setting.subsection = subsection.or(setting.subsection);
    setting.value = value.or(setting.value);
    Some(setting)
}

/// Returns a proxy without what stands before its `@`: a proxy needs no scheme.
fn bare_host(value: &str) -> Option<String> {
    value.rsplit_once('@').map(|(_, host)| host.to_owned())
}

fn is_secret(setting: &Setting, key: &str, value: &str) -> bool {
    let name = setting.name.replace(['-', '_'], "");
    let secret = |text: &str| IN_VALUES.iter().any(|word| text.to_ascii_lowercase().contains(word));
    SECTIONS.contains(&setting.section.as_str())
        || SETTINGS.contains(&key)
        || WORDS.iter().any(|word| name.contains(word))
        || secret(value)
        || setting.subsection.as_deref().is_some_and(secret)
}

/// Returns the name of a setting for people, which holds no secret.
fn shown(setting: &Setting) -> String {
    match &setting.subsection {
        None => format!("{}.{}", setting.section, setting.name),
        Some(subsection) => {
            let subsection = without_credentials(subsection).unwrap_or_else(|| subsection.clone());
            // What follows a URL's path may be a secret, too.
            let subsection = subsection.split('?').next().unwrap_or_default();
            format!("{}.{subsection}.{}", setting.section, setting.name)
        }
    }
}

/// Returns the file that is included, where it lies in the tree. Git looks for it beside the file that includes it.
fn included(value: &str, place: &Place<'_>) -> Option<PathBuf> {
    in_tree(place.file.parent()?, value, place.root)
}

/// Returns the files in which credentials may be kept, where they lie in the tree. A helper looks for them where it was started.
fn stores(path: &str, place: &Place<'_>) -> Vec<PathBuf> {
    let path = path.trim_start_matches('=').trim().trim_matches(['"', '\'']);
    place.file.ancestors().skip(1).filter_map(|dir| in_tree(dir, path, place.root)).collect()
}

/// Returns a file of the tree. A path below somebody's home is none.
fn in_tree(dir: &Path, value: &str, root: &Path) -> Option<PathBuf> {
    let outside = value.is_empty() || value.starts_with('~') || value.starts_with("%(");
    let file = (!outside).then(|| dir.join(value).canonicalize().ok())??;
    (file.starts_with(root) && file.is_file()).then_some(file)
}

/// Lets git read the file, and nothing else: no other file, and no repository.
fn list(file: &Path) -> io::Result<Vec<Setting>> {
    let mut command = Command::new("git");
    command.args(["config", "--no-includes", "--null", "--list", "--file"]).arg(file);
    command.current_dir("/").stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_terminator('\0').filter_map(parse).collect())
}

/// Reads `section.sub.section.name`, and behind a line break the value.
fn parse(entry: &str) -> Option<Setting> {
    let (key, value) = match entry.split_once('\n') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (entry, None),
    };
    let (section, rest) = key.split_once('.')?;
    let (subsection, name) = match rest.rsplit_once('.') {
        Some((subsection, name)) => (Some(subsection.to_owned()), name),
        None => (None, rest),
    };
    Some(Setting { section: section.to_owned(), subsection, name: name.to_owned(), value })
}

fn header(setting: &Setting) -> String {
    match &setting.subsection {
        None => format!("[{}]", setting.section),
        Some(subsection) => {
            format!("[{} \"{}\"]", setting.section, subsection.replace('\\', "\\\\").replace('"', "\\\""))
        }
    }
}

fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{}\"", escaped.replace('\u{8}', "\\b"))
}
