//! Layers of images of real tools, made of the packages of this machine's own distribution and kept in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// Makes the layers of tests in a folder. What it makes is kept under its own digest.
const TESTS: &str = include_str!("../images/layers.sh");
/// Makes the layer of the demo, likewise.
const DEMO: &str = include_str!("../images/demo.sh");

/// A layer as a registry keeps it.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The file that holds it.
    pub file: PathBuf,
    /// Digest of that file, as hex digits.
    pub digest: String,
    /// Digest of what is packed in it, as hex digits.
    pub diff: String,
    /// Size of the file.
    pub bytes: u64,
}

/// Packs a folder into a layer, as the file `to`.
///
/// # Errors
/// When it cannot be packed.
pub fn of_folder(root: &Path, to: &Path) -> Result<Layer, String> {
    let packed = Command::new("tar").args(["--numeric-owner", "-C"]).arg(root).arg("-cf").arg(to).arg(".").status();
    match packed {
        Ok(status) if status.success() => {}
        other => return Err(format!("cannot pack {}: {other:?}", root.display())),
    }
    let content = fs::read(to).map_err(|error| format!("cannot read {}: {error}", to.display()))?;
    // Who pulls it tells by its first bytes that it is not compressed.
    let digest = hex(&content);
    Ok(Layer { file: to.to_owned(), diff: digest.clone(), digest, bytes: content.len() as u64 })
}

/// Returns the digest of a text, as hex digits.
pub(crate) fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a layer by its name in `layers.sh`, `base` or one that lies over it. The first call on a machine makes all of them, which
/// takes some minutes and the distribution's archive.
///
/// # Errors
/// When they cannot be made: what failed, for people.
pub fn layer(name: &str) -> Result<Layer, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| make(TESTS)).clone()?;
    read(&folder, name)
}

/// Returns the one layer of the demo's images: a shell, Python with a client of Redis, and Redis.
///
/// # Errors
/// As [`layer`].
pub fn demo() -> Result<Layer, String> {
    read(&make(DEMO)?, "demo")
}

fn read(folder: &Path, name: &str) -> Result<Layer, String> {
    let text = |kind: &str| {
        let path = folder.join(format!("{name}.{kind}"));
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok::<_, String>(text.trim().to_owned())
    };
    let file = folder.join(format!("{name}.tar.gz"));
    let bytes = file.metadata().map_err(|error| format!("cannot look at {}: {error}", file.display()))?.len();
    Ok(Layer { digest: text("blob")?, diff: text("diff")?, file, bytes })
}

/// Makes what is missing by a script, and returns the folder.
fn make(by: &str) -> Result<PathBuf, String> {
    let cache = cache().ok_or("neither XDG_CACHE_HOME nor HOME says where files may be kept")?;
    let folder = cache.join("test-images").join(&hex(by.as_bytes())[..16]);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let script = folder.join("layers.sh");
    fs::write(&script, by).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let output = Command::new("bash")
        .arg(&script)
        .arg(&folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run bash: {error}"))?;
    if output.status.success() {
        return Ok(folder);
    }
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    let lines: Vec<_> = told.lines().collect();
    Err(format!(
        "cannot make the test images: {}\n{}",
        output.status,
        lines[lines.len().saturating_sub(20)..].join("\n")
    ))
}

fn cache() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?.join("kiln"))
}
