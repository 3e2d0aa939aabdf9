//! Rows that cannot be read are set aside, so that all others can be worked on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kiln_pool::Subject;

use crate::database::Row;
use crate::fault::Fault;

/// Returns the rows of the history that can be read, and logs the others.
pub(crate) fn readable<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Fault>) -> Vec<T> {
    let tell = |fault: &Fault| tracing::warn!(error = %fault, "a row of the history cannot be read and is left out");
    rows.iter().filter_map(|row| read(row).inspect_err(tell).ok()).collect()
}

/// The unreadable rows of the latest full read, by kind and id.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeMap<(Subject, String), String>>);

impl Unreadable {
    /// Returns the readable rows, and remembers the others. Each of these is logged once.
    pub(crate) fn set_aside<T>(
        &self,
        subject: Subject,
        rows: &[Row],
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let (mut good, mut bad) = (Vec::with_capacity(rows.len()), BTreeMap::new());
        for row in rows {
            match read(row) {
                Ok(row) => good.push(row),
                Err(fault) => drop(bad.insert((subject, row.text(0)?), fault.to_string())),
            }
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, id), why) in bad.iter().filter(|(key, _)| !known.contains_key(*key)) {
            tracing::error!(id, why, "a row cannot be read and is left as it is; the others go on");
        }
        known.retain(|(of, _), _| *of != subject);
        known.append(&mut bad);
        Ok(good)
    }

    /// Returns the rows that are set aside, by kind and id, each with its fault.
    pub(crate) fn all(&self) -> BTreeMap<(Subject, String), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
