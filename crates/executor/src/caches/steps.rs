//! Steps that keep files: caches and uploads.

use kiln_cache::{Name, Store, Wanted};
use kiln_pipeline::expr::{Scope, Template};
use kiln_pipeline::plan::{self, ArchiveFormat, Limit, RestoreCache, SaveCache, Upload};
use kiln_wire::agent::archive::Format;
use kiln_wire::run::{Cause, Event};

use super::failure::Failure;
use super::keeper::Keeper;
use crate::fleet::{Lease, error_chain};
use crate::outcome::Judged;
use crate::stage_context::StageContext;

/// A step that keeps files.
#[derive(Clone, Copy)]
pub(crate) enum Keeping<'s> {
    Save(&'s SaveCache),
    Restore(&'s RestoreCache),
    Upload(&'s Upload),
}

impl StageContext<'_> {
    /// Carries out one attempt at a step that keeps files, within the step's time.
    pub(crate) async fn keep_files(
        &self,
        lease: &Lease,
        key: &str,
        keeping: Keeping<'_>,
        limit: Option<&Limit>,
        scope: &Scope,
    ) -> Judged {
        let say = |line: String| {
            let (stage, step, text) = (self.id.to_owned(), key.to_owned(), line + "\n");
            self.tell(Event::Output { stage, step, text, continues: false, goes_on: false });
        };
        let keeper = self.keeper(lease, Some(key), &say);
        let over = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit.time).await,
                None => std::future::pending().await,
            }
        };
        let work = Box::pin(self.kept(&keeper, keeping, scope));
        tokio::select! {
            done = work => done.map_or_else(|failure| failure.judged(), |()| Judged::passed(None)),
            evidence = self.gone.wait() => Judged::failed(Cause::Infrastructure, format!("the instance ended: {evidence}")),
            () = over => {
                let limit = limit.map(|limit| format!(" (timeout: {})", limit.written)).unwrap_or_default();
                Judged::failed(Cause::Timeout, format!("its time was up{limit}"))
            }
            () = self.cancel.cancelled() => {
                Judged::failed(Cause::Cancelled, self.why().map_or_else(|| "cancelled".to_owned(), |why| why.text()))
            }
        }
    }

    async fn kept(&self, keeper: &Keeper<'_>, keeping: Keeping<'_>, scope: &Scope) -> Result<(), Failure> {
        let arch = self.stage.pool.arch;
        match keeping {
            Keeping::Save(save) => {
                let text = texts(scope, save.location.line);
                let scope = self.cache_scope(bucket_of(&save.store, &text)?);
                let key = keeper.key(&text("key", &save.key)?, arch).await?;
                let paths = save.paths.iter().map(|path| text("sourcePaths", path)).collect::<Result<_, _>>()?;
                let (name, format) = (Name { scope, key }, format(save.format));
                keeper.save(self.caches()?, Wanted { name, paths, format, replaces: save.replaces }).await
            }
            Keeping::Restore(restore) => {
                let text = texts(scope, restore.location.line);
                let scope = self.cache_scope(bucket_of(&restore.store, &text)?);
                let key = keeper.key(&text("key", &restore.key)?, arch).await?;
                let name = Name { scope, key };
                if keeper.restore(self.caches()?, &name).await? || !restore.required {
                    return Ok(());
                }
                Err(Failure::Nothing(format!("there is no cache {}, and `failIfKeyNotFound` is set", name.key)))
            }
            Keeping::Upload(upload) => {
                let text = texts(scope, upload.location.line);
                let bucket = bucket_of(&upload.store, &text)?;
                let source = text("sourcePath", &upload.source)?;
                let optional = |what: &str, template: &Option<Template>| {
                    template.as_ref().map(|template| text(what, template)).transpose().map(Option::unwrap_or_default)
                };
                let target = optional("target", &upload.target)?;
                let strip = optional("stripPrefix", &upload.strip_prefix)?;
                let Some(store) = &self.run.options.artifacts else {
                    return Err(Failure::Plan("this run has no place where steps upload to".to_owned()));
                };
                keeper.upload(store, &source, &[&bucket, &target], &strip).await
            }
        }
    }

    fn caches(&self) -> Result<&Store, Failure> {
        let none = || Failure::Plan("this run has no place where caches are kept".to_owned());
        self.run.options.caches.as_ref().ok_or_else(none)
    }
}

/// Returns the bucket that the file names, or an empty text. The buckets of a file are folders of the run's own store.
fn bucket_of(
    store: &plan::Store,
    text: &impl Fn(&str, &Template) -> Result<String, Failure>,
) -> Result<String, Failure> {
    match store {
        plan::Store::Own | plan::Store::Artifactory { connector: _ } => Ok(String::new()),
        plan::Store::S3(bucket) | plan::Store::Gcs(bucket) | plan::Store::Azure(bucket) => {
            bucket.name.as_ref().map_or_else(|| Ok(String::new()), |name| text("bucket", name))
        }
    }
}

/// Returns what works out the texts of an item at a line of the file.
pub(super) fn texts(scope: &Scope, line: u32) -> impl Fn(&str, &Template) -> Result<String, Failure> {
    move |what, template| {
        let none = |error| Failure::Plan(format!("line {line}: `{what}` has no value: {}", error_chain(&error)));
        template.render(scope).map_err(none)
    }
}

fn format(format: ArchiveFormat) -> Format {
    match format {
        ArchiveFormat::Tar => Format::Tar,
        ArchiveFormat::Gzip => Format::Gzip,
        ArchiveFormat::Zstd => Format::Zstd,
    }
}
