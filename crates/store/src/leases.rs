//! Statements about leases, and about the current process of each runner.

use std::collections::BTreeMap;

use kiln_engine::world::{Holder, Lease, Leasing};

use crate::SqlStore;
use crate::database::values;
use crate::fault::Fault;
use crate::writes::Room;

const ENROLL: &str = "INSERT INTO runners (name, process, beat) VALUES ($1, $2, 0) \
                      ON CONFLICT (name) DO UPDATE SET process = excluded.process, beat = runners.beat + 1";
/// Changes no row when a later process was enrolled. Until the commit, no later one can be.
const PRESENT: &str = "UPDATE runners SET beat = beat + 1 WHERE name = $1 AND process = $2";
const LEASE: &str = "INSERT INTO leases (name, holder, process, beat) VALUES ($1, $2, $3, 0) ON CONFLICT (name) DO UPDATE \
                     SET holder = excluded.holder, process = excluded.process, beat = leases.beat + 1 \
                     WHERE leases.holder = $2 OR leases.holder = '' OR (leases.process = $4 AND leases.beat = $5)";
const LEASES: &str = "SELECT name, holder, process, beat FROM leases";
const GIVE_UP: &str = "UPDATE leases SET holder = '', process = '', beat = beat + 1 WHERE process = $1";

impl SqlStore {
    pub(crate) async fn write_process(&self, me: &Holder) -> Result<(), Fault> {
        self.write(Room::Reserve, ENROLL, &values![me.name.as_str(), me.process.as_str()]).await
    }

    pub(crate) async fn take_leases(
        &self,
        me: &Holder,
        wanted: &BTreeMap<String, Option<Lease>>,
    ) -> Result<Leasing, Fault> {
        let (name, process) = (me.name.as_str(), me.process.as_str());
        let mut session = self.database.write(Room::Reserve).await?;
        if session.execute(PRESENT, &values![name, process]).await? == 0 {
            session.roll_back().await?;
            return Ok(Leasing::Superseded);
        }
        // All processes take leases in the order of their names, so that no two of them wait for each other.
        for (lease, seen) in wanted {
            let (holder, beat) = seen.as_ref().map_or(("", -1), |seen| (seen.process.as_str(), seen.beat));
            session.execute(LEASE, &values![lease.as_str(), name, process, holder, beat]).await?;
        }
        session.commit().await?;
        let rows = self.database.rows(LEASES, &[]).await?;
        let rows = rows
            .iter()
            .map(|row| Ok((row.text(0)?, Lease { holder: row.text(1)?, process: row.text(2)?, beat: row.int(3)? })));
        Ok(Leasing::Rows(rows.collect::<Result<_, Fault>>()?))
    }

    pub(crate) async fn give_up_leases(&self, me: &Holder) -> Result<(), Fault> {
        self.write(Room::Reserve, GIVE_UP, &values![me.process.as_str()]).await
    }
}
