//! The proxy through which the daemon of the container engine reaches registries.
//!
//! It is told by systemd, from a file that root alone can read: what stands in the unit itself, `systemctl show` tells
//! everybody.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::files::replace_private;
use super::tools;

const UNIT_DIR: &str = "etc/systemd/system/docker.service.d";
const UNIT_FILE: &str = "http-proxy.conf";
const ENVIRONMENT_FILE: &str = "http-proxy.env";
const RESTART_WITHIN: Duration = Duration::from_secs(60);

/// A proxy, and the hosts that are reached without it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    pub(crate) not_for: String,
}

/// Writes it down below `root`, and restarts the daemon if it runs and had another one.
///
/// # Errors
/// When it cannot be written down, or the daemon does not start with it.
pub(crate) async fn set(root: &Path, proxy: &Proxy) -> io::Result<()> {
    if !write_down(root, proxy)? {
        return Ok(());
    }
    let told = tell().await;
    if told.is_err() {
        // What is written down there, a repetition of the setup takes to be known to the daemon.
        fs::remove_file(root.join(UNIT_DIR).join(ENVIRONMENT_FILE))?;
    }
    told
}

/// Lets systemd read what is written down, and restarts the daemon if it runs.
async fn tell() -> io::Result<()> {
    for arguments in [&["daemon-reload"][..], &["try-restart", "docker.service"]] {
        match tools::run("systemctl", arguments, RESTART_WITHIN).await {
            Ok(done) if done.success => {}
            Ok(_) => return Err(io::Error::other(format!("systemctl {} failed", arguments.join(" ")))),
            // Whatever starts the daemon there, it is not this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("the container engine is not told of the proxy: there is no systemctl");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it was another one before.
fn write_down(root: &Path, Proxy { address, not_for }: &Proxy) -> io::Result<bool> {
    let dir = root.join(UNIT_DIR);
    let (address, not_for) = (quoted(address)?, quoted(not_for)?);
    let text: String = [("HTTP_PROXY", &address), ("HTTPS_PROXY", &address), ("NO_PROXY", &not_for)]
        .iter()
        .flat_map(|(name, value)| [format!("{name}={value}\n"), format!("{}={value}\n", name.to_ascii_lowercase())])
        .collect();
    let file = dir.join(ENVIRONMENT_FILE);
    let unit = format!("[Service]\nEnvironmentFile=-/{UNIT_DIR}/{ENVIRONMENT_FILE}\n");
    let is_there = |path: &Path, text: &str| fs::read_to_string(path).is_ok_and(|there| there == text);
    let unit_file = dir.join(UNIT_FILE);
    if is_there(&file, &text) && is_there(&unit_file, &unit) {
        return Ok(false);
    }
    fs::create_dir_all(&dir)?;
    replace_private(&file, &text)?;
    fs::write(&unit_file, unit)?;
    Ok(true)
}

/// A value of such a file (systemd.exec(5), `EnvironmentFile=`).
fn quoted(value: &str) -> io::Result<String> {
    if value.contains(char::is_control) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the proxy's address has a control character"));
    }
    Ok(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`").replace('$', "\\$")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_down_is_for_root_alone_and_no_second_time() {
        let root = tempfile::tempdir().expect("a directory");
        let proxy = Proxy { address: "http://ann:p%24\"w@proxy:3128".into(), not_for: "localhost,10.0.0.0/8".into() };
        assert!(write_down(root.path(), &proxy).expect("files"));
        assert!(!write_down(root.path(), &proxy).expect("files"));
        let at = |name: &str| root.path().join(UNIT_DIR).join(name);
        let unit = fs::read_to_string(at(UNIT_FILE)).expect("a file");
        assert!(unit.contains("EnvironmentFile=-/etc/systemd/system/docker.service.d/http-proxy.env\n"), "{unit}");
        assert!(!unit.contains("ann"), "{unit}");
        let text = fs::read_to_string(at(ENVIRONMENT_FILE)).expect("a file");
        assert!(text.contains("HTTPS_PROXY=\"http://ann:p%24\\\"w@proxy:3128\"\n"), "{text}");
        assert!(text.contains("no_proxy=\"localhost,10.0.0.0/8\"\n"), "{text}");
        assert_eq!(at(ENVIRONMENT_FILE).metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        let other = Proxy { address: "http://b\nc".into(), ..proxy };
        assert!(write_down(root.path(), &other).is_err());
    }
}
