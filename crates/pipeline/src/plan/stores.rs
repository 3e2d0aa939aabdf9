//! Steps that keep files beyond their stage: caches and uploads.

use kiln_document::diagnostic::Location;

use crate::expr::Template;

/// Keeps files for later runs.
#[derive(Debug, Clone)]
pub struct SaveCache {
    /// Where they are kept.
    pub store: Store,
    /// Name by which they are found again.
    pub key: Template,
    /// What is kept: absolute, or relative to the workspace.
    pub paths: Vec<Template>,
    /// Form of the archive.
    pub format: ArchiveFormat,
    /// Whether what is kept under that key already is replaced.
    pub replaces: bool,
    /// Where it stands in the file.
    pub location: Location,
}

/// Brings back files that an earlier run kept.
#[derive(Debug, Clone)]
pub struct RestoreCache {
    /// Where they are kept.
    pub store: Store,
    /// Name by which they were kept.
    pub key: Template,
    /// Form of the archive.
    pub format: ArchiveFormat,
    /// Whether the step fails when nothing is kept under that key (`failIfKeyNotFound`).
    pub required: bool,
    /// Whether owners and times of the files come back too (`preserveMetadata`).
    pub preserves_metadata: bool,
    /// Where it stands in the file.
    pub location: Location,
}

/// Puts files into a store, for people and other programs.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where they are put.
    pub store: Store,
    /// What is put there: a path or a glob, absolute or relative to the workspace.
    pub source: Template,
    /// Path in the store; its root when absent.
    pub target: Option<Template>,
    /// Beginning that is left out of the paths in the store.
    pub strip_prefix: Option<Template>,
    /// Where it stands in the file.
    pub location: Location,
}

/// Cache Intelligence of a stage: a cache that is brought back before the steps and kept after them.
#[derive(Debug, Clone)]
pub struct StageCache {
    /// Name by which it is kept; made from what the working tree holds when absent.
    pub key: Option<Template>,
    /// What is kept; found out from what the working tree holds when empty.
    pub paths: Vec<Template>,
    /// Whether it is brought back before the steps.
    pub pulls: bool,
    /// Whether it is kept after them.
    pub pushes: bool,
    /// Whether what is kept under that key already is replaced.
    pub replaces: bool,
    /// Where it stands in the file.
    pub location: Location,
}

/// Where files are kept.
#[derive(Debug, Clone)]
pub enum Store {
    /// Whatever the one who runs the pipeline keeps caches in.
    Own,
    /// A bucket of S3, or of what speaks its protocol.
    S3(Bucket),
    /// A bucket of Google Cloud Storage.
    Gcs(Bucket),
    /// A container of Azure's blob storage.
    Azure(Bucket),
    /// A repository of Artifactory, which the target names.
    Artifactory {
        /// The connector that knows its address and credentials.
        connector: Option<Template>,
    },
}

/// A bucket, and how it is reached.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Its name.
    pub name: Option<Template>,
    /// The connector that knows the credentials.
    pub connector: Option<Template>,
    /// Its region.
    pub region: Option<Template>,
    /// Address of a store that is not the vendor's own.
    pub endpoint: Option<Template>,
    /// Whether the bucket's name is in the path of its address, and not in the host name.
    pub path_style: bool,
    /// Storage account (Azure).
    pub account: Option<Template>,
}

/// Form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveFormat {
    /// `Tar`
    #[default]
    Tar,
    /// `Gzip`
    Gzip,
    /// `Zstd`
    Zstd,
}
