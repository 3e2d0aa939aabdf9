//! Cache Intelligence: a stage's cache is brought back before its first step, and saved after its last one.

use kiln_cache::{Name, Scope, Wanted};
use kiln_pipeline::plan::StageCache;
use kiln_wire::agent::archive::Format;

use super::failure::Failure;
use super::keeper::Keeper;
use super::owner;
use super::steps::texts;
use crate::fleet::Lease;
use crate::nest::Nest;
use crate::stage_context::StageContext;
use crate::walk::End;

/// What remains to be done for a stage's cache at the end of the stage.
#[derive(Debug)]
pub(crate) struct StageCacheRun {
    /// What is saved, where that is still wanted.
    save: Wanted,
}

impl StageContext<'_> {
    /// Restores the stage's cache, if it has one. What goes wrong is told, and the stage goes on without.
    pub(crate) async fn restore_cache(&self, lease: &Lease) -> Option<StageCacheRun> {
        let cache = self.stage.cache.as_ref()?;
        let say = |line: String| self.note(line);
        let keeper = self.keeper(lease, None, &say);
        match self.try_to_restore(&keeper, cache).await {
            Ok(run) => run,
            Err(error) => {
                self.note(format!("line {}: the stage runs without its cache: {}", cache.location.line, error.told()));
                None
            }
        }
    }

    async fn try_to_restore(&self, keeper: &Keeper<'_>, cache: &StageCache) -> Result<Option<StageCacheRun>, Failure> {
        let Some(store) = &self.run.options.caches else {
            return Err(Failure::Plan("this run has no place where caches are kept".to_owned()));
        };
        let scope = self.run.scope(&self.place(&Nest::default(), End::Clear));
        let text = texts(&scope, cache.location.line);
        let key = cache.key.as_ref().map(|key| text("key", key)).transpose()?;
        let paths = cache.paths.iter().map(|path| text("paths", path)).collect::<Result<Vec<_>, _>>()?;
        let found = match (&key, paths.is_empty()) {
            (Some(_), false) => None,
            (None, _) | (_, true) => keeper.build_tools(self.stage.pool.arch).await?,
        };
        let none = "the sources use no build tool whose caches are known; say `key` and `paths`";
        let key = match (key, &found) {
            (Some(key), _) => keeper.key(&key, self.stage.pool.arch).await?,
            (None, Some(found)) => found.key.clone(),
            (None, None) => return Err(Failure::Plan(none.to_owned())),
        };
        let paths = match (paths, found) {
            (paths, _) if !paths.is_empty() => paths,
            (_, Some(found)) => found.paths,
            (_, None) => return Err(Failure::Plan(none.to_owned())),
        };
        let name = Name { scope: self.cache_scope(String::new()), key };
        let hit = cache.pulls && keeper.restore(store, &name).await?;
        let save = Wanted { name, paths, format: Format::Zstd, replaces: cache.replaces };
        // What was there stays, so nothing is to be saved.
        Ok((cache.pushes && (cache.replaces || !hit)).then_some(StageCacheRun { save }))
    }

    /// Saves the stage's cache. What goes wrong is told, and fails nothing.
    pub(crate) async fn save_cache(&self, lease: &Lease, run: StageCacheRun) {
        let Some(store) = &self.run.options.caches else { return };
        let say = |line: String| self.note(line);
        let saved = self.keeper(lease, None, &say).save(store, run.save).await;
        if let Err(error) = saved {
            self.note(format!("the stage's cache is not saved: {}", error.told()));
        }
    }

    /// Returns whose caches those of the run in a bucket are.
    pub(super) fn cache_scope(&self, bucket: String) -> Scope {
        owner::scope(&self.run.facts, &self.run.options.workspace, bucket)
    }

    /// Returns what works with caches of the stage, or of a step.
    pub(super) fn keeper<'k>(
        &'k self,
        lease: &'k Lease,
        step: Option<&'k str>,
        say: &'k (dyn Fn(String) + Send + Sync),
    ) -> Keeper<'k> {
        Keeper { run: self.run, stage: self.id, step, agent: &lease.agent, base: &self.stage.workspace_dir, say }
    }
}
