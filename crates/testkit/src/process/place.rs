//! The root: which ids are there, which have ended, and whose turn it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kiln_driver::LaunchRequest;

use super::error::ProcessError;
use super::record::Record;

/// The variable that every process of an instance has in its environment.
const MARK: &str = "KILN_PROCESS_INSTANCE";
/// Longest id.
const ID_MAX_BYTES: usize = 63;
const INSTANCES: &str = "instances";

/// A root that can be used.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

/// What a launch finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It was not there, so nothing runs under its id.
    New,
    /// Somebody entered it before.
    Known,
}

/// Whether it can name an instance: it becomes the name of a directory.
pub(super) fn valid_id(id: &str) -> bool {
    let inner_ok = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=ID_MAX_BYTES).contains(&id.len()) && inner_ok && !id.starts_with('-') && !id.ends_with('-')
}

/// How the mark of every instance below a root begins.
pub(super) fn mark_of_all(root: &Path) -> String {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    format!("{MARK}={}/", root.join(INSTANCES).display())
}

pub(super) fn instance_dir(root: &Path, id: &str) -> PathBuf {
    root.join(INSTANCES).join(id)
}

impl Place {
    pub(super) fn open(root: &Path) -> Result<Self, ProcessError> {
        for dir in [INSTANCES, "ended"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(ProcessError::io("create", &dir))?;
        }
        // Processes are found by the path in their environment, so it must be the same whatever way it was come by.
        let root = fs::canonicalize(root).map_err(ProcessError::io("find", root))?;
        Ok(Self { root })
    }

    pub(super) fn instance_dir(&self, id: &str) -> PathBuf {
        instance_dir(&self.root, id)
    }

    /// What every process of an instance has in its environment, as `NAME` and value.
    pub(super) fn variable(&self, id: &str) -> (&'static str, PathBuf) {
        (MARK, self.instance_dir(id))
    }

    /// The same, as the kernel shows it.
    pub(super) fn mark(&self, id: &str) -> String {
        format!("{MARK}={}\0", self.instance_dir(id).display())
    }

    pub(super) fn has_ended(&self, id: &str) -> bool {
        self.root.join("ended").join(id).exists()
    }

    /// The ids of all instances that are there.
    pub(super) fn instances(&self) -> Result<Vec<String>, ProcessError> {
        let dir = self.root.join(INSTANCES);
        let entries = fs::read_dir(&dir).map_err(ProcessError::io("list", &dir))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|name| valid_id(name)).collect();
        ids.sort();
        Ok(ids)
    }

    /// Enters an instance with its labels, unless it is there.
    pub(super) fn enter(&self, request: &LaunchRequest, limit: Option<usize>) -> Result<Entry, ProcessError> {
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
        // It gets its name when it is whole: a killed launch leaves a record or nothing.
        let unnamed = self.root.join(INSTANCES).join(format!(".{}", request.token));
        remove_tree(&unnamed)?;
        fs::create_dir(&unnamed).map_err(ProcessError::io("create", &unnamed))?;
        Record::intent(&request.labels).write(&unnamed)?;
        let lock = unnamed.join("lock");
        File::create(&lock).map_err(ProcessError::io("create", &lock))?;
        fs::rename(&unnamed, &dir).map_err(ProcessError::io("create", &dir))?;
        Ok(Entry::New)
    }

    /// From now on nothing is started under this id.
    pub(super) fn end(&self, id: &str) -> Result<(), ProcessError> {
        let _turn = self.turn()?;
        let path = self.root.join("ended").join(id);
        File::create(&path).map(drop).map_err(ProcessError::io("create", &path))
    }

    /// Waits until nobody else starts or ends this instance. None when it is not there.
    pub(super) fn lock_instance(&self, id: &str) -> Result<Option<File>, ProcessError> {
        let path = self.instance_dir(id).join("lock");
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(ProcessError::io("open", &path)(error)),
            };
            file.lock().map_err(ProcessError::io("lock", &path))?;
            // Whoever held it may have removed it.
            let locked = file.metadata().map_err(ProcessError::io("look at", &path))?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == locked) {
                return Ok(Some(file));
            }
        }
    }

    /// Removes an instance's directory, whose lock the caller holds. It loses its name first, so that no half of it is listed.
    pub(super) fn remove(&self, id: &str) -> Result<(), ProcessError> {
        let (dir, unnamed) = (self.instance_dir(id), self.root.join(INSTANCES).join(format!(".{id}")));
        remove_tree(&unnamed)?;
        match fs::rename(&dir, &unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProcessError::io("remove", &dir)(error)),
            _ => remove_tree(&unnamed),
        }
    }

    fn turn(&self) -> Result<File, ProcessError> {
        let path = self.root.join("lock");
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
