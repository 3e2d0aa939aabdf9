//! Operators' actions on single instances and pools.

use kiln_pool::{Cause, Code, Instance, InstanceId, State};

use crate::Engine;
use crate::world::StoreError;

/// An operator's action that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no such instance.
    #[error("there is no instance {0}")]
    UnknownInstance(InstanceId),
    /// There is no such pool.
    #[error("there is no pool `{name}`; there are: {known}")]
    UnknownPool {
        /// The name as given.
        name: String,
        /// The pools that there are.
        known: String,
    },
    /// The instance is in a state in which it cannot be held.
    #[error("instance {id} is {state}, and only one that is ready or claimed can be held")]
    NotHeldable {
        /// The instance.
        id: InstanceId,
        /// Its state.
        state: State,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Holds an instance until `until_ms`, in milliseconds since 1970. A held warm instance is not claimed; a held busy
    /// one outlives its stage. The greatest age of its pool still applies.
    ///
    /// # Errors
    /// When there is no such instance, or it is neither ready nor claimed.
    pub async fn hold(&self, id: &InstanceId, until_ms: i64) -> Result<Instance, OperatorError> {
        self.change(id, |row| {
            if !matches!(row.state, State::Ready | State::Claimed) {
                return Err(OperatorError::NotHeldable { id: row.id.clone(), state: row.state });
            }
            let mut next = row.clone();
            next.generation += 1;
            next.hold_until_ms = Some(until_ms);
            let seconds = (until_ms - self.host.now_ms()) / 1000;
            Ok((next, format!("held for {seconds} s from now on")))
        })
        .await
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// When there is no such instance.
    pub async fn unhold(&self, id: &InstanceId) -> Result<Instance, OperatorError> {
        self.change(id, |row| {
            // An instance that is ending or gone is changed by its end only.
            if row.hold_until_ms.is_none() || matches!(row.state, State::Terminating | State::Gone) {
                return Ok((row.clone(), String::new()));
            }
            let mut next = row.clone();
            next.generation += 1;
            next.hold_until_ms = None;
            Ok((next, "the hold was released".to_owned()))
        })
        .await
    }

    /// Ends an instance in whatever state it is. A stage that it serves ends with it.
    ///
    /// # Errors
    /// When there is no such instance.
    pub async fn destroy_instance(&self, id: &InstanceId, evidence: &str) -> Result<Instance, OperatorError> {
        let cause = Cause::new(Code::Operator, evidence);
        self.change(id, |row| {
            let next = row.terminating(cause.clone(), self.host.now_ms());
            // An instance that is already ending is left as it is.
            Ok(next.map_or_else(|| (row.clone(), String::new()), |next| (next, cause.to_string())))
        })
        .await
    }

    /// Drains a pool, or ends its drain. A drained pool keeps nothing warm and launches nothing.
    ///
    /// # Errors
    /// When there is no such pool.
    pub async fn drain(&self, pool: &str, drained: bool) -> Result<(), OperatorError> {
        let config = self.config();
        if !config.pools.contains_key(pool) {
            let known = config.pools.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(OperatorError::UnknownPool { name: pool.to_owned(), known });
        }
        self.store.set_drained(pool, drained).await?;
        self.host.signal();
        Ok(self.store.flush().await?)
    }

    async fn change(
        &self,
        id: &InstanceId,
        change: impl Fn(&Instance) -> Result<(Instance, String), OperatorError>,
    ) -> Result<Instance, OperatorError> {
        loop {
            let row = self.store.instance(id).await?.ok_or_else(|| OperatorError::UnknownInstance(id.clone()))?;
            let (next, why) = change(&row)?;
            if next.generation == row.generation || self.store.update_instance(&next, &why).await? {
                self.host.signal();
                self.store.flush().await?;
                return Ok(next);
            }
        }
    }
}
