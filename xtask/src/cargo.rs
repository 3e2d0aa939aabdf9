//! Asking cargo, always the one that runs us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    // This crate lies one level below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cargo that runs us.
pub fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What `cargo ARGS`, run in the root, prints on its standard output.
pub fn output(args: &[&str]) -> Result<String> {
    output_of(Path::new(&program()), args)
}

/// What a program, run in the root, prints on its standard output.
pub fn output_of(program: &Path, args: &[&str]) -> Result<String> {
    let line = format!("{} {}", program.display(), args.join(" "));
    let done = Command::new(program)
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
