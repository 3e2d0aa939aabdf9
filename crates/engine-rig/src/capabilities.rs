//! What root may not do on this machine, containers are not given either.
//!
//! An engine gives a privileged container every capability that the kernel knows. Where this process itself lacks one, as in a container
//! or a sandbox, such a container would not start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Their names without the prefix `CAP_`, by number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Returns the engine's settings. Where capabilities are missing, they name a runtime in the engine's folder that leaves these out.
pub fn confine(folder: &Path) -> std::io::Result<String> {
    let missing = missing(&fs::read_to_string("/proc/self/status")?);
    if missing.is_empty() {
        return Ok("{}".to_owned());
    }
    let runtime = folder.join("runc");
    fs::write(&runtime, script(&missing))?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
    Ok(format!(r#"{{"runtimes": {{"confined": {{"path": "{}"}}}}, "default-runtime": "confined"}}"#, runtime.display()))
}

/// Returns the capabilities that a process with this `/proc/PID/status` can never have. None where that does not tell.
fn missing(status: &str) -> Vec<&'static str> {
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX);
    NAMES.iter().enumerate().filter(|(bit, _)| bounding >> bit & 1 == 0).map(|(_, name)| *name).collect()
}

/// Returns a runtime that takes these capabilities out of what describes a container or a process in it, each one line of JSON.
fn script(missing: &[&str]) -> String {
    let edits: String = missing.iter().map(|name| format!(r#" -e 's/"CAP_{name}",//g; s/,"CAP_{name}"//g'"#)).collect();
    format!(
        "#!/bin/sh\nprevious=\nfor word; do\n    case $previous in\n    --bundle) sed -i{edits} \"$word/config.json\" ;;\n    \
         --process) sed -i{edits} \"$word\" ;;\n    esac\n    previous=$word\ndone\nexec runc \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &str, expected: &[&str]) {
        assert_eq!(missing(status), expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        check("Name:\tx\nCapBnd:\t000001ffffffffff\n", &[]);
        check("CapBnd:\t000001fffeffffff\n", &["SYS_RESOURCE"]);
        check("CapBnd:\t000001fffefeffff\n", &["SYS_MODULE", "SYS_RESOURCE"]);
        check("", &[]);
    }
}
