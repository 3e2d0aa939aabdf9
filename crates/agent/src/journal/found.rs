//! A journal that an earlier process of the agent left.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Begin, NAME, Record};

/// More of a journal is not read. Steps that stand beyond are not known.
const READ_MAX_BYTES: u64 = 16 << 20;

/// What an earlier process did, as far as its journal can be read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The directory that it lies in; the kept output does so too.
    pub(crate) dir: PathBuf,
    /// Its first line, if that can be read.
    pub(crate) begin: Option<Begin>,
    /// The claim: who the machine is, and with which limits since when. See [`Record::Claim`].
    pub(crate) claim: Option<(String, i64, i64, u64)>,
    /// How its caller named the stage; empty when it did not.
    pub(crate) epoch: String,
    /// The steps, in the order of their start.
    pub(crate) steps: Vec<FoundStep>,
}

/// A step that an earlier process started, or was about to.
#[derive(Debug)]
pub(crate) struct FoundStep {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mark: String,
    pub(crate) at_unix_ms: i64,
    /// What it is found by; none when the agent ended before that was known.
    pub(crate) handle: Option<String>,
}

impl Found {
    /// Returns the first journal in one of these directories. One that cannot be read is one all the same: a machine of which
    /// nobody knows what it did is not fresh.
    pub(crate) fn look<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Option<Self> {
        dirs.into_iter().find_map(|dir| match read(&dir.join(NAME)) {
            Ok(text) => Some(Self { dir: dir.into(), ..Self::of(&text) }),
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "there is a journal that cannot be read");
                Some(Self { dir: dir.into(), ..Self::default() })
            }
        })
    }

    /// With what the marks of its steps begin; none when that cannot be read.
    pub(crate) fn mark(&self) -> Option<&str> {
        let begin = self.begin.as_ref().map(|begin| begin.mark.as_str());
        begin.or_else(|| self.steps.first()?.mark.rsplit_once('-').map(|(mark, _)| mark))
    }

    fn of(text: &str) -> Self {
        let mut found = Self::default();
        // A line that does not end was being written when the agent ended: what it tells of was not done.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if found.begin.is_none() {
                found.begin = Begin::read(line).filter(|begin| is_mark(&begin.mark));
            }
            match Record::read(line) {
                Some(Record::Claim { id, lease_s, max_age_s, at_ms }) => {
                    found.claim = Some((id, lease_s, max_age_s, at_ms));
                }
                Some(Record::Setup { epoch }) if !epoch.is_empty() => found.epoch = epoch,
                Some(Record::Start { id, name, mark, at_unix_ms }) if is_mark(&mark) => {
                    found.steps.push(FoundStep { id, name, mark, at_unix_ms, handle: None });
                }
                Some(Record::Runs { mark, handle }) => {
                    if let Some(step) = found.steps.iter_mut().rev().find(|step| step.mark == mark) {
                        step.handle = Some(handle);
                    }
                }
                Some(Record::Setup { .. } | Record::Start { .. }) | None => {}
            }
        }
        found
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for somebody who writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether there is no such file, nor a directory that could hold one.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Marks name files, so they are read strictly.
fn is_mark(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
