//! Calls cargo, always the one that runs this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    // This crate is one level below it.
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Prefixes of the variables in which cargo describes a program's package to the program.
const OF_OUR_PACKAGE: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// Returns the cargo that runs this program, as if it were called from outside. Some build scripts, ring's among them,
/// run again when such variables change. If they stayed, half of the dependencies would be compiled again at each
/// change between `cargo xtask` and cargo.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if OF_OUR_PACKAGE.iter().any(|beginning| name.as_encoded_bytes().starts_with(beginning.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns cargo's folder of build results.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the standard output of `cargo ARGS`, run in the root.
pub fn output(args: &[&str]) -> Result<String> {
    output_of(command(), args)
}

/// Returns the standard output of a program, run in the root.
pub fn output_of(mut program: Command, args: &[&str]) -> Result<String> {
    let line = format!("{} {}", program.get_program().to_string_lossy(), args.join(" "));
    let done = program
        .args(args)
        .current_dir(root())
        // The size of the caller's terminal must not change generated files.
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        // The caller's settings must not either, which clap shows beside the defaults.
        .env_remove("KILN_AGENT")
        .env_remove("KILN_ACCEL")
        .env_remove("KILN_CPUS")
        .env_remove("KILN_MEMORY_MIB")
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !done.status.success() {
        bail!("`{line}` failed ({}):\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    String::from_utf8(done.stdout).with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_of_our_package() {
        let command = command();
        // Cargo sets both for every program that it runs, including these tests.
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(name).is_some(), "{name} is not set");
            assert!(command.get_envs().any(|(removed, value)| removed == name && value.is_none()), "{name} is kept");
        }
    }
}
