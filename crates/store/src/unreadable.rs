//! Rows that cannot be read: they are set aside, so that the others go on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::database::Row;
use crate::fault::Fault;

/// What could not be read when all rows of a table were read last, by table and id.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeMap<(&'static str, String), String>>);

impl Unreadable {
    /// The rows that can be read. Of the others each is told once.
    pub(crate) fn set_aside<T>(
        &self,
        table: &'static str,
        rows: &[Row],
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let (mut good, mut bad) = (Vec::with_capacity(rows.len()), BTreeMap::new());
        for row in rows {
            match read(row) {
                Ok(row) => good.push(row),
                Err(fault) => drop(bad.insert((table, row.text(0)?), fault.to_string())),
            }
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, id), why) in bad.iter().filter(|(key, _)| !known.contains_key(*key)) {
            tracing::error!(id, why, "a row cannot be read and is left as it is; the others go on");
        }
        known.retain(|(of, _), _| *of != table);
        known.append(&mut bad);
        Ok(good)
    }

    /// All of them by id, with what is wrong.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|((_, id), why)| (id.clone(), why.clone())).collect()
    }
}
