//! Asking cargo, always the one that runs us.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    // This crate lies one level below it.
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// What cargo tells a program that it runs of the program's package begins with these.
const OF_OUR_PACKAGE: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// The cargo that runs us, as if it were called from outside. Some build scripts are run again when such variables change, ring's
/// among them; left in place, they would have half of the dependencies compiled anew at each change between `cargo xtask` and cargo.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if OF_OUR_PACKAGE.iter().any(|beginning| name.as_encoded_bytes().starts_with(beginning.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// What `cargo ARGS`, run in the root, prints on its standard output.
pub fn output(args: &[&str]) -> Result<String> {
    output_of(command(), args)
}

/// What a program, run in the root, prints on its standard output.
pub fn output_of(mut program: Command, args: &[&str]) -> Result<String> {
    let line = format!("{} {}", program.get_program().to_string_lossy(), args.join(" "));
    let done = program
        .args(args)
        .current_dir(root())
        // The size of the caller's terminal must not change what is generated.
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        // Nor must the caller's settings, which clap shows beside the defaults.
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
        // Cargo sets both for whatever it runs, these tests among them.
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(name).is_some(), "{name} is not set");
            assert!(command.get_envs().any(|(removed, value)| removed == name && value.is_none()), "{name} is kept");
        }
    }
}
