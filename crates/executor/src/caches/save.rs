//! Keeps files for later runs.

use std::time::Instant;

use kiln_cache::{Limits, Lookup, Saved, Store, Wanted};
use kiln_wire::agent::archive::{LookRequest, PackRequest, PackedResponse};

use super::failure::Failure;
use super::keeper::{Keeper, Progress, size, time};
use crate::again::again;
use crate::wait::Reason;

/// What is said while a cache is saved.
const SAVING: &str = "the cache to be saved";

impl Keeper<'_> {
    /// Saves a cache, unless one of its name is there and stays.
    ///
    /// # Errors
    /// Also when there is nothing at any of the paths.
    pub(super) async fn save(&self, store: &Store, mut wanted: Wanted) -> Result<(), Failure> {
        let began = Instant::now();
        let key = wanted.name.key.clone();
        let kept = || (self.say)(format!("the cache {key} is there already, and stays"));
        if let (false, Lookup::Hit(entry)) = (wanted.replaces, store.find(&wanted.name).await?) {
            if store.has_archive(&entry).await? {
                kept();
                return Ok(());
            }
            // Nobody can restore it, so there is nothing that could stay.
            wanted.replaces = true;
        }
        wanted.paths = self.there(wanted.paths).await?;
        let reason = Reason::new(SAVING);
        // The inner error is of this side, and no other try would change it.
        let saved = again(&self.run.options.patience, || self.try_to_save(store, &wanted, &reason));
        let (saved, packed) = self.wait(&reason, saved).await??;
        let Saved::Saved { bytes } = saved else {
            kept();
            return Ok(());
        };
        let PackedResponse { entries, bytes: unpacked, error: _ } = packed;
        let what = format!("{entries} files, {} ({} packed)", size(unpacked), size(bytes));
        (self.say)(format!("cache saved: {key}: {what}, in {}", time(began.elapsed())));
        self.prune(store).await;
        Ok(())
    }

    /// Returns the paths at which there is something, and tells of the others.
    async fn there(&self, paths: Vec<String>) -> Result<Vec<String>, Failure> {
        let request = LookRequest { base: self.base.to_owned(), digests: Vec::new(), paths };
        let reason = Reason::new("a look at what is to be cached");
        let looked = again(&self.run.options.patience, || self.agent.look(&request));
        let found = self.wait(&reason, looked).await?.found;
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (number, path) in request.paths.into_iter().enumerate() {
            let is_there = found.get(number).copied().unwrap_or(false);
            if is_there { there.push(path) } else { missing.push(path) }
        }
        if there.is_empty() {
            return Err(Failure::Nothing(format!(
                "there is nothing to be cached: {} is not there",
                missing.join(", ")
            )));
        }
        for path in missing {
            (self.say)(format!("{path} is not there, and not in the cache"));
        }
        Ok(there)
    }

    async fn try_to_save(
        &self,
        store: &Store,
        wanted: &Wanted,
        reason: &Reason,
    ) -> Result<Result<(Saved, PackedResponse), Failure>, kiln_agent_client::AgentError> {
        let (base, paths, format) = (self.base.to_owned(), wanted.paths.clone(), wanted.format);
        let mut packing = self.agent.pack(&PackRequest { base, paths, format, max_bytes: 0 }).await?;
        let mut saving = match store.save(wanted.clone()).await {
            Ok(saving) => saving,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut progress = Progress::new(reason, SAVING.to_owned());
        let packed = loop {
            match packing.next().await {
                Ok(None) => break packing.finish(),
                Err(error) => break Err(error),
                Ok(Some(bytes)) => {
                    progress.add(bytes.len());
                    if let Err(error) = saving.write(&bytes).await {
                        saving.give_up().await;
                        return Ok(Err(error.into()));
                    }
                }
            }
        };
        match packed {
            Err(error) => {
                saving.give_up().await;
                Err(error)
            }
            Ok(packed) => Ok(saving.finish().await.map(|saved| (saved, packed)).map_err(Failure::from)),
        }
    }

    /// Keeps a directory of caches within its limit.
    async fn prune(&self, store: &Store) {
        let Some(limit) = store.limit_bytes() else { return };
        match store.prune(&Limits { bytes: Some(limit), unused_for: None }).await {
            Ok(pruned) => {
                for removed in pruned.removed {
                    (self.say)(format!("the cache {} is removed: there is no room for it", removed.entry.key));
                }
            }
            // The next run tries it again.
            Err(error) => (self.say)(format!("old caches could not be removed: {}", crate::fleet::error_chain(&error))),
        }
    }
}
