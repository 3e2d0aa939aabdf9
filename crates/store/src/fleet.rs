//! Statements about more than one row: streaks of failures, drained pools, remembered values, and pruning.

use std::collections::{BTreeMap, BTreeSet};

use kiln_pool::Cause;
use kiln_pool::plan::{Streak, counts_up_to};

use crate::SqlStore;
use crate::database::values;
use crate::fault::Fault;
use crate::instances::lock;
use crate::writes::Room;

const STREAKS: &str = "SELECT flavor, failures, at_ms, evidence FROM streaks";
const STREAK: &str = "SELECT flavor FROM streaks WHERE flavor = $1";
const STREAK_GROWS: &str = "INSERT INTO streaks (flavor, failures, at_ms, evidence) VALUES ($1, 1, $2, $3) \
                            ON CONFLICT (flavor) DO UPDATE SET \
                            failures = CASE WHEN streaks.failures < $4 THEN streaks.failures + 1 ELSE $4 END, at_ms = excluded.at_ms, evidence = excluded.evidence";
const STREAK_ENDS: &str = "DELETE FROM streaks WHERE flavor = $1";
/// Deletes streaks that have not grown for long, because nobody reads them any more.
const FORGET_STREAKS: &str = "DELETE FROM streaks WHERE at_ms < $1";
const OPEN: &str = "SELECT epoch_ms FROM boots WHERE boot = $1 AND (EXISTS (SELECT 1 FROM instances WHERE state <> 'gone') \
                    OR EXISTS (SELECT 1 FROM stages WHERE state <> 'ended'))";
const ANCHOR: &str = "INSERT INTO boots (boot, epoch_ms) VALUES ($1, $2) \
                      ON CONFLICT (boot) DO UPDATE SET epoch_ms = excluded.epoch_ms";
const DRAINED: &str = "SELECT pool FROM drained";
const DRAIN: &str = "INSERT INTO drained (pool) VALUES ($1) ON CONFLICT (pool) DO NOTHING";
const UNDRAIN: &str = "DELETE FROM drained WHERE pool = $1";
const REMEMBER: &str = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const RECALL: &str = "SELECT value FROM meta WHERE name = $1";

/// Most rows that one transaction prunes, so that claims need not wait long for it.
const PRUNE_BATCH_ROWS: i64 = 500;
macro_rules! old_instances {
    () => {
        "(SELECT id FROM instances WHERE state = 'gone' AND since_ms < $1 ORDER BY since_ms, id LIMIT $2)"
    };
}
/// Selects stages to prune. A stage stays as long as its instance does; otherwise the instance would serve an unknown
/// stage.
macro_rules! old_stages {
    () => {
        "(SELECT id FROM stages WHERE state = 'ended' AND ended_ms < $1 AND NOT EXISTS (SELECT 1 FROM instances \
         WHERE instances.id = stages.instance AND instances.state <> 'gone') ORDER BY ended_ms, id LIMIT $2)"
    };
}
const PRUNE: [[&str; 2]; 2] = [
    [
        concat!("DELETE FROM changes WHERE subject = 'instance' AND id IN ", old_instances!()),
        concat!("DELETE FROM instances WHERE id IN ", old_instances!()),
    ],
    [
        concat!("DELETE FROM changes WHERE subject = 'stage' AND id IN ", old_stages!()),
        concat!("DELETE FROM stages WHERE id IN ", old_stages!()),
    ],
];

impl SqlStore {
    pub(crate) async fn write_epoch(&self, boot: &str, epoch_ms: i64) -> Result<i64, Fault> {
        let mut session = self.database.write(Room::Reserve).await?;
        // Two processes that start at the same time get the same value.
        lock(&mut session, "boots").await?;
        if let Some(row) = session.row(OPEN, &values![boot]).await? {
            session.roll_back().await?;
            return row.int(0);
        }
        session.execute(ANCHOR, &values![boot, epoch_ms]).await?;
        session.commit().await?;
        self.database.flush().await?;
        Ok(epoch_ms)
    }

    pub(crate) async fn read_streaks(&self) -> Result<BTreeMap<String, Streak>, Fault> {
        let streak = |row: &crate::database::Row| {
            let failures = u32::try_from(row.int(1)?).unwrap_or(u32::MAX);
            Ok((row.text(0)?, Streak { failures, at_ms: row.int(2)?, evidence: row.text(3)? }))
        };
        self.database.rows(STREAKS, &[]).await?.iter().map(streak).collect()
    }

    pub(crate) async fn write_start(&self, flavor: &str, now_ms: i64, failure: Option<&Cause>) -> Result<(), Fault> {
        match failure {
            Some(cause) => {
                let (evidence, most) = (cause.to_string(), i64::from(counts_up_to(cause)));
                self.write(Room::Free, STREAK_GROWS, &values![flavor, now_ms, evidence.as_str(), most]).await
            }
            // Nearly always there is no streak, and reading is cheaper than writing.
            None if self.database.row(STREAK, &values![flavor]).await?.is_none() => Ok(()),
            None => self.write(Room::Free, STREAK_ENDS, &values![flavor]).await,
        }
    }

    pub(crate) async fn read_drained(&self) -> Result<BTreeSet<String>, Fault> {
        self.database.rows(DRAINED, &[]).await?.iter().map(|row| row.text(0)).collect()
    }

    pub(crate) async fn drain(&self, pool: &str, drained: bool) -> Result<(), Fault> {
        self.write(Room::Free, if drained { DRAIN } else { UNDRAIN }, &values![pool]).await
    }

    pub(crate) async fn write_once(&self, name: &str, value: &str) -> Result<String, Fault> {
        if let Some(row) = self.database.row(RECALL, &values![name]).await? {
            return row.text(0);
        }
        self.write(Room::Free, REMEMBER, &values![name, value]).await?;
        self.database.flush().await?;
        match self.database.row(RECALL, &values![name]).await? {
            Some(row) => row.text(0),
            None => Err(Fault::Statement(sqlx::Error::RowNotFound)),
        }
    }

    pub(crate) async fn forget(&self, before_ms: i64) -> Result<u64, Fault> {
        self.write(Room::Free, FORGET_STREAKS, &values![before_ms]).await?;
        let mut forgotten = 0;
        for [changes, rows] in PRUNE {
            loop {
                let mut session = self.database.write(Room::Free).await?;
                lock(&mut session, "prune").await?;
                session.execute(changes, &values![before_ms, PRUNE_BATCH_ROWS]).await?;
                let count = session.execute(rows, &values![before_ms, PRUNE_BATCH_ROWS]).await?;
                session.commit().await?;
                forgotten += count;
                if count < PRUNE_BATCH_ROWS.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}
