//! The timeline: a row for each change of an instance or a stage.

use std::sync::LazyLock;

use kiln_engine::world::Change;
use kiln_pool::{Instance, Stage, Subject};

use crate::SqlStore;
use crate::database::{Session, Value, values};
use crate::fault::Fault;
use crate::rows;
use crate::unreadable::readable;

/// A change that is about to be written.
pub(crate) struct Entry<'a> {
    subject: Subject,
    id: &'a str,
    pool: &'a str,
    state: &'static str,
    reason: String,
}

impl<'a> Entry<'a> {
    pub(crate) fn instance(row: &'a Instance, reason: impl Into<String>) -> Self {
        Self {
            subject: Subject::Instance,
            id: row.id.as_str(),
            pool: &row.pool,
            state: row.state.as_str(),
            reason: reason.into(),
        }
    }

    pub(crate) fn stage(row: &'a Stage) -> Self {
        Self {
            subject: Subject::Stage,
            id: row.id.as_str(),
            pool: &row.pool,
            state: row.state.as_str(),
            reason: Change::reason_of_stage(row),
        }
    }

    fn values(&self) -> [Value<'_>; 5] {
        values![self.subject.as_str(), self.id, self.pool, self.state, self.reason.as_str()]
    }
}

/// Most changes that one statement writes.
const AT_ONCE: usize = 8;
/// The statements that write one change, two changes, and so on.
static WRITE: LazyLock<[String; AT_ONCE]> = LazyLock::new(|| {
    std::array::from_fn(|more| {
        let row = |n: usize| format!("($1, ${}, ${}, ${}, ${}, ${})", n + 2, n + 3, n + 4, n + 5, n + 6);
        let rows: Vec<String> = (0..=more).map(|n| row(5 * n)).collect();
        format!("INSERT INTO changes (at_ms, subject, id, pool, state, reason) VALUES {}", rows.join(", "))
    })
});

/// Writes changes. It is the last statement of a transaction, so that a change becomes visible as soon as possible
/// after it gets its number.
pub(crate) async fn write(session: &mut Session<'_>, entries: &[Entry<'_>]) -> Result<(), Fault> {
    let at_ms = session.at_ms;
    for entries in entries.chunks(AT_ONCE) {
        let values: Vec<_> = [Value::from(at_ms)].into_iter().chain(entries.iter().flat_map(Entry::values)).collect();
        session.execute(&WRITE[entries.len() - 1], &values).await?;
    }
    Ok(())
}

/// Age of a change, in milliseconds, after which no change with a smaller number can still be committed.
const GAP_PATIENCE_MS: i64 = 10_000;

const TIMELINE: &str = "SELECT seq, at_ms, subject, id, pool, state, reason FROM changes WHERE id = $1 \
                        ORDER BY seq DESC LIMIT $2";
const AFTER: &str = "SELECT seq, at_ms, subject, id, pool, state, reason FROM changes WHERE seq > $1 \
                     ORDER BY seq LIMIT $2";

impl SqlStore {
    pub(crate) async fn read_timeline(&self, id: &str, limit: u32) -> Result<Vec<Change>, Fault> {
        let rows = self.database.rows(TIMELINE, &values![id, i64::from(limit)]).await?;
        let mut changes = readable(&rows, rows::change);
        changes.reverse();
        Ok(changes)
    }

    pub(crate) async fn read_changes_after(&self, seq: i64, limit: u32) -> Result<Vec<Change>, Fault> {
        let rows = self.database.rows(AFTER, &values![seq, i64::from(limit)]).await?;
        let changes = readable(&rows, rows::change);
        Ok(if self.database.commits_out_of_order() { settled(seq, changes, self.database.now_ms()) } else { changes })
    }
}

/// Returns the changes before the first gap in the numbers that may still be filled.
///
/// Numbers are assigned before commits. So a change may become visible after one with a greater number, and a reader
/// that follows the numbers would miss it. A gap that stays belongs to a change that was pruned or never committed.
fn settled(after: i64, mut changes: Vec<Change>, now_ms: i64) -> Vec<Change> {
    let mut previous = after;
    let open = changes.iter().position(|change| {
        // A time far ahead was written by a host with another clock, and does not tell the change's age.
        let fresh = (change.at_ms - now_ms).abs() < GAP_PATIENCE_MS;
        let gap = change.seq != previous + 1 && fresh;
        previous = change.seq;
        gap
    });
    changes.truncate(open.unwrap_or(changes.len()));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_a_fresh_gap_is_told() {
        let old = 0;
        let fresh = 100_000 - GAP_PATIENCE_MS + 1;
        let check = |after: i64, there: &[(i64, i64)], told: usize| {
            let change = |&(seq, at_ms): &(i64, i64)| Change {
                seq,
                at_ms,
                subject: Subject::Stage,
                id: String::new(),
                pool: String::new(),
                state: String::new(),
                reason: String::new(),
            };
            let changes = settled(after, there.iter().map(change).collect(), 100_000);
            assert_eq!(changes.len(), told, "{after} {there:?}");
        };
        check(0, &[], 0);
        check(0, &[(1, fresh), (2, fresh)], 2);
        check(0, &[(1, fresh), (3, fresh), (4, fresh)], 1);
        check(0, &[(2, fresh)], 0);
        check(0, &[(7, old), (9, old), (10, fresh)], 3);
        check(0, &[(7, 300_000), (9, fresh)], 1);
        check(4, &[(5, fresh), (7, old), (9, fresh)], 2);
    }
}
