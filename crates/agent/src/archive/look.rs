//! Tells what lies at paths, and digests of files, so that the key of a cache can be worked out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kiln_tls::Sha256;
use kiln_wire::agent::archive::{Digest, LookRequest, LookResponse};

use super::ArchiveError;
use super::roots::Root;
use super::save::Work;
use super::walk::{Kind, at, walk};
use crate::bulk::on_thread;
use crate::os::account::Account;

/// Files of one digest.
const MOST_FILES: usize = 10_000;
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 128 << 10;

/// Looks at what a request names.
///
/// # Errors
/// When a path cannot be used, or a file cannot be read.
pub(crate) async fn look(request: LookRequest, work: Work) -> Result<LookResponse, ArchiveError> {
    let digests = Root::all(&request.base, &request.digests, work.home.as_deref())?;
    let paths = Root::all(&request.base, &request.paths, work.home.as_deref())?;
    let base = PathBuf::from(request.base);
    let done = on_thread("look", move || {
        let acting = work.account.as_ref().map(Account::act);
        let looked = (|| {
            let digests = digests.iter().map(|root| digest(root, &base)).collect::<io::Result<_>>()?;
            let found = paths.iter().map(is_there).collect::<io::Result<_>>()?;
            Ok(LookResponse { digests, found })
        })();
        drop((acting, work));
        looked.map_err(ArchiveError::Read)
    });
    let defect = |_| ArchiveError::Read(io::Error::other("a defect of the agent"));
    done.map_err(ArchiveError::Thread)?.await.map_err(defect)?
}

/// Returns whether a root covers anything.
fn is_there(root: &Root) -> io::Result<bool> {
    let mut is_there = false;
    walk(root, &mut |_, below, _| {
        is_there |= root.covers(below.iter().filter_map(|name| name.to_str()));
        Ok(if is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(is_there)
}

fn digest(root: &Root, base: &Path) -> io::Result<Digest> {
    let mut sums = BTreeMap::new();
    walk(root, &mut |path, _, kind| {
        // A link stands for the file that it leads to.
        let is_file = kind == Kind::File || kind == Kind::Link && path.is_file();
        if is_file {
            let name = path.strip_prefix(base).unwrap_or(path).display().to_string();
            sums.insert(name, sum(path).map_err(|error| at(path, &error))?);
        }
        if sums.len() > MOST_FILES {
            return Err(io::Error::other(format!("there are more than {MOST_FILES} files for one digest")));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let files = sums.len() as u64;
    let mut all = sums.into_iter();
    let sha256 = match (all.next(), files) {
        (None, _) => String::new(),
        (Some((_, sum)), 1) => sum,
        (Some(first), _) => {
            let mut of_all = Sha256::default();
            std::iter::once(first)
                .chain(all)
                .for_each(|(name, sum)| of_all.update(format!("{sum}  {name}\n").as_bytes()));
            of_all.hex()
        }
    };
    Ok(Digest { files, sha256 })
}

fn sum(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut sum, mut piece) = (Sha256::default(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(sum.hex()),
            read => sum.update(&piece[..read]),
        }
    }
}
