//! The root: its instances, the ids that have ended, and its locks.
//!
//! ```text
//! ROOT/site                  the id of this root
//! ROOT/lock                  held while an id is entered or ended: one at a time, whatever the process
//! ROOT/ended/ID              an id that was destroyed; it is never run again
//! ROOT/instances/ID/         record.json (labels before anything runs, then the process, then the port), lock, agent.log,
//!                            certificates, state and work directories of the agent
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kiln_driver::LaunchRequest;

use crate::error::ProcessError;
use crate::proc;
use crate::record::Record;

/// The variable that every process of an instance has in its environment.
const MARK: &str = "KILN_PROCESS_INSTANCE";
/// Longest id.
const ID_MAX_BYTES: usize = 63;
const INSTANCES: &str = "instances";
const ENDED: &str = "ended";
const SITE: &str = "site";

/// A directory that is to this driver what an account is to a cloud. Every driver that opens it, in any process, sees
/// and ends the same instances, and no instance ends with the process that made it.
#[derive(Debug)]
pub(crate) struct Root {
    dir: PathBuf,
    site: String,
}

/// The state of an id when a launch enters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The id is new, so nothing runs under it.
    New,
    /// The id was entered before.
    Known,
}

/// Tells whether a text can be an instance's id. It becomes the name of a directory.
pub(crate) fn valid_id(id: &str) -> bool {
    let inner_ok = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=ID_MAX_BYTES).contains(&id.len()) && inner_ok && !id.starts_with('-') && !id.ends_with('-')
}

impl Root {
    /// Opens a root. It is created on demand.
    pub(crate) fn open(dir: &Path) -> Result<Self, ProcessError> {
        for dir in [INSTANCES, ENDED].map(|name| dir.join(name)) {
            fs::create_dir_all(&dir).map_err(ProcessError::io("create", &dir))?;
        }
        // Processes are found by the path in their environment, so the path must not depend on how the root was named.
        let dir = fs::canonicalize(dir).map_err(ProcessError::io("find", dir))?;
        let mut root = Self { dir, site: String::new() };
        root.site = root.read_or_make_site()?;
        Ok(root)
    }

    /// Returns the id of this root. It was created with the root, so a root of the same path on another host has
    /// another id.
    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    fn read_or_make_site(&self) -> Result<String, ProcessError> {
        let _turn = self.turn()?;
        let path = self.dir.join(SITE);
        match fs::read_to_string(&path) {
            Ok(id) if valid_id(&id) => Ok(id),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProcessError::io("read", &path)(error)),
            _ => {
                let id = proc::random_id();
                fs::write(&path, &id).map_err(ProcessError::io("write", &path))?;
                Ok(id)
            }
        }
    }

    /// Returns the directory of an instance's files.
    pub(crate) fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join(INSTANCES).join(id)
    }

    /// Returns name and value of the variable in the environment of every process of an instance.
    pub(crate) fn variable(&self, id: &str) -> (&'static str, PathBuf) {
        (MARK, self.instance_dir(id))
    }

    /// Returns that variable as the kernel shows it.
    pub(crate) fn mark(&self, id: &str) -> String {
        format!("{MARK}={}\0", self.instance_dir(id).display())
    }

    /// Returns the common prefix of the marks of all instances.
    #[cfg(test)]
    pub(crate) fn mark_of_all(&self) -> String {
        format!("{MARK}={}/", self.dir.join(INSTANCES).display())
    }

    /// Tells whether an instance was destroyed or is being destroyed.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.dir.join(ENDED).join(id).exists()
    }

    /// Returns the ids of all existing instances.
    pub(crate) fn instances(&self) -> Result<Vec<String>, ProcessError> {
        let dir = self.dir.join(INSTANCES);
        let entries = fs::read_dir(&dir).map_err(ProcessError::io("list", &dir))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|name| valid_id(name)).collect();
        ids.sort();
        Ok(ids)
    }

    /// Enters an instance with its labels, unless it exists.
    pub(crate) fn enter(&self, request: &LaunchRequest, limit: Option<usize>) -> Result<Entry, ProcessError> {
        let _turn = self.turn()?;
        if self.has_ended(&request.token) {
            return Err(ProcessError::Ended(request.token.clone()));
        }
        let dir = self.instance_dir(&request.token);
        if dir.exists() {
            return Ok(Entry::Known);
        }
        if let Some(limit) = limit
            && self.instances()?.len() >= limit
        {
            return Err(ProcessError::Full(limit));
        }
        // It gets its name once it is complete, so a killed launch leaves a record or nothing.
        let unnamed = self.dir.join(INSTANCES).join(format!(".{}", request.token));
        remove_tree(&unnamed)?;
        fs::create_dir(&unnamed).map_err(ProcessError::io("create", &unnamed))?;
        Record::intent(&request.labels).write(&unnamed)?;
        let lock = unnamed.join("lock");
        File::create(&lock).map_err(ProcessError::io("create", &lock))?;
        fs::rename(&unnamed, &dir).map_err(ProcessError::io("create", &dir))?;
        Ok(Entry::New)
    }

    /// Records that nothing is started under this id from now on.
    pub(crate) fn end(&self, id: &str) -> Result<(), ProcessError> {
        let _turn = self.turn()?;
        let path = self.dir.join(ENDED).join(id);
        File::create(&path).map(drop).map_err(ProcessError::io("create", &path))
    }

    /// Waits until no other call starts or ends this instance. Returns none when it does not exist.
    pub(crate) fn lock_instance(&self, id: &str) -> Result<Option<File>, ProcessError> {
        let path = self.instance_dir(id).join("lock");
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(ProcessError::io("open", &path)(error)),
            };
            file.lock().map_err(ProcessError::io("lock", &path))?;
            // The former holder may have removed the file.
            let locked = file.metadata().map_err(ProcessError::io("look at", &path))?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == locked) {
                return Ok(Some(file));
            }
        }
    }

    /// Removes the directory of an instance whose lock the caller holds. The directory is renamed first, so that half
    /// of it is never listed.
    pub(crate) fn remove(&self, id: &str) -> Result<(), ProcessError> {
        let (dir, unnamed) = (self.instance_dir(id), self.dir.join(INSTANCES).join(format!(".{id}")));
        remove_tree(&unnamed)?;
        match fs::rename(&dir, &unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProcessError::io("remove", &dir)(error)),
            _ => remove_tree(&unnamed),
        }
    }

    /// Waits for the root's lock, which is held while an id is entered or ended.
    fn turn(&self) -> Result<File, ProcessError> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(ProcessError::io("open", &path))?;
        file.lock().map_err(ProcessError::io("lock", &path))?;
        Ok(file)
    }
}

fn remove_tree(dir: &Path) -> Result<(), ProcessError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProcessError::io("remove", dir)(error)),
        _ => Ok(()),
    }
}
