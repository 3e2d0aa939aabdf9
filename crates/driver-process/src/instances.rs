//! The instances of a root: their listing, and the end of one.

use kiln_driver::Listed;
use kiln_pool::Life;

use crate::error::ProcessError;
use crate::kill;
use crate::name::ProcessName;
use crate::record::Record;
use crate::root::{self, Root};

/// Lists every instance, with its labels. An instance whose process has ended is left over until it is destroyed.
pub(crate) fn list(root: &Root) -> Result<Vec<Listed>, ProcessError> {
    let mut listed = Vec::new();
    for id in root.instances()? {
        // An instance that went away between the two looks has no record.
        let Some(record) = Record::read(&root.instance_dir(&id)) else { continue };
        let life = match &record.process {
            None => Life::Starting,
            Some(process) if process.lives() => Life::Running,
            Some(_) => Life::LeftOver,
        };
        let launched = record.launched(&id).filter(|_| !life.is_over());
        listed.push(Listed { id, life, labels: record.labels, launched });
    }
    Ok(listed)
}

/// Ends an instance and removes all that belongs to it. An unknown id is a success, and is never launched later.
pub(crate) fn destroy(root: &Root, id: &str) -> Result<(), ProcessError> {
    if !root::valid_id(id) {
        return Ok(());
    }
    root.end(id)?;
    // A launch that is under way sees the mark of its end and releases the lock.
    let lock = root.lock_instance(id)?;
    kill::end(process(root, id).as_ref(), &root.mark(id))?;
    root.remove(id)?;
    drop(lock);
    Ok(())
}

/// Returns the process of an instance's agent, if it had one. The process may have ended.
pub(crate) fn process(root: &Root, id: &str) -> Option<ProcessName> {
    if root::valid_id(id) { Record::read(&root.instance_dir(id))?.process } else { None }
}
