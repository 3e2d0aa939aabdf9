//! Reads what steps do that keep files: caches and uploads.

use kiln_document::schema::Table;
use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::store_tables;
use crate::plan::{ArchiveFormat, Bucket, RestoreCache, SaveCache, StepKind, Store, Upload};

/// Reads the `spec` of a step of that type.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    let action = Action::of(kind);
    let Some(spec) = step.get("spec") else {
        reader.missing(
            step,
            &["spec"],
            name_place(step),
            "the step has no `spec`",
            "`spec` says what is kept, and where",
        );
        return None;
    };
    if !reader.check(spec, table(kind)) {
        return None;
    }
    let store = store(reader, spec, kind);
    match action {
        Action::Save => save(reader, step, spec, store),
        Action::Restore => restore(reader, step, spec, store),
        Action::Upload => upload(reader, step, spec, store),
    }
}

/// Returns the keys of the `spec` of a step of that type.
pub(super) fn table(kind: &str) -> &'static Table {
    match Action::of(kind) {
        Action::Save => &store_tables::SAVE,
        Action::Restore => &store_tables::RESTORE,
        Action::Upload => &store_tables::UPLOAD,
    }
}

/// What a step does with files.
#[derive(Clone, Copy)]
enum Action {
    Save,
    Restore,
    Upload,
}

impl Action {
    fn of(kind: &str) -> Self {
        if kind.starts_with("Save") {
            Self::Save
        } else if kind.starts_with("Restore") {
            Self::Restore
        } else {
            Self::Upload
        }
    }
}

fn save(reader: &mut Reader<'_>, step: &Node, spec: &Node, store: Store) -> Option<StepKind> {
    let paths = reader.texts(spec, "sourcePaths");
    if paths.is_empty() {
        reader.missing(
            spec,
            &["sourcePaths"],
            name_place(step),
            "the step has no `sourcePaths`",
            "they say what is kept",
        );
    }
    let key = key(reader, step, spec)?;
    Some(StepKind::SaveCache(SaveCache {
        store,
        key,
        paths,
        format: format(reader, spec),
        replaces: reader.switch(spec, "override").unwrap_or(false),
        location: name_place(step).clone(),
    }))
}

fn restore(reader: &mut Reader<'_>, step: &Node, spec: &Node, store: Store) -> Option<StepKind> {
    let key = key(reader, step, spec)?;
    Some(StepKind::RestoreCache(RestoreCache {
        store,
        key,
        format: format(reader, spec),
        required: reader.switch(spec, "failIfKeyNotFound").unwrap_or(false),
        preserves_metadata: reader.switch(spec, "preserveMetadata").unwrap_or(false),
        location: name_place(step).clone(),
    }))
}

fn upload(reader: &mut Reader<'_>, step: &Node, spec: &Node, store: Store) -> Option<StepKind> {
    let Some(source) = reader.template_at(spec, "sourcePath") else {
        reader.missing(
            spec,
            &["sourcePath"],
            name_place(step),
            "the step has no `sourcePath`",
            "it says what is uploaded",
        );
        return None;
    };
    Some(StepKind::Upload(Upload {
        store,
        source,
        target: reader.template_at(spec, "target"),
        strip_prefix: reader.template_at(spec, "stripPrefix"),
        location: name_place(step).clone(),
    }))
}

fn key(reader: &mut Reader<'_>, step: &Node, spec: &Node) -> Option<crate::expr::Template> {
    let key = reader.template_at(spec, "key");
    if key.is_none() {
        reader.missing(spec, &["key"], name_place(step), "the step has no `key`", "files are found again by it");
    }
    key
}

fn format(reader: &mut Reader<'_>, spec: &Node) -> ArchiveFormat {
    match reader.fixed(spec, "archiveFormat") {
        Some("Gzip") => ArchiveFormat::Gzip,
        Some("Zstd") => ArchiveFormat::Zstd,
        _ => ArchiveFormat::Tar,
    }
}

fn store(reader: &mut Reader<'_>, spec: &Node, kind: &str) -> Store {
    let connector = reader.optional(spec, "connectorRef");
    if kind.starts_with("Artifactory") {
        return Store::Artifactory { connector };
    }
    let bucket = Bucket {
        name: reader.template_at(spec, if kind.ends_with("Azure") { "container" } else { "bucket" }),
        connector,
        region: reader.template_at(spec, "region"),
        endpoint: reader.template_at(spec, "endpoint"),
        path_style: reader.switch(spec, "pathStyle").unwrap_or(false),
        account: reader.template_at(spec, "storageAccount"),
    };
    match kind {
        "SaveCacheS3" | "RestoreCacheS3" | "S3Upload" => Store::S3(bucket),
        "SaveCacheGCS" | "RestoreCacheGCS" | "GCSUpload" => Store::Gcs(bucket),
        "SaveCacheAzure" | "RestoreCacheAzure" => Store::Azure(bucket),
        _ => Store::Own,
    }
}
