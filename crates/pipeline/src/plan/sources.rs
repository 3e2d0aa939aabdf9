//! Steps that bring sources into the instance.

use kiln_document::diagnostic::Location;

use super::Process;
use crate::expr::Template;

/// Puts a repository into the instance.
#[derive(Debug, Clone)]
pub struct GitClone {
    /// What is cloned.
    pub from: CloneFrom,
    /// Where it is put: relative to the workspace.
    pub directory: Template,
    /// What is checked out.
    pub revision: Revision,
    /// How many commits are fetched; all when absent.
    pub depth: Option<Template>,
    /// Whether submodules come too, and theirs.
    pub submodules: Submodules,
    /// Whether files in Git LFS come too.
    pub lfs: bool,
    /// Whether all tags come too.
    pub tags: bool,
    /// Whether the server's certificate is verified.
    pub verifies: bool,
    /// Whether `git` tells all that it does.
    pub traces: bool,
    /// Paths that are checked out; all when empty.
    pub sparse: Vec<Template>,
    /// Commands that run in the empty repository before anything is fetched.
    pub before: Option<Template>,
    /// What goes with it.
    pub process: Process,
    /// Where it stands in the file.
    pub location: Location,
}

/// What is cloned.
#[derive(Debug, Clone)]
pub enum CloneFrom {
    /// The working tree of whoever runs the pipeline, which stands for the pipeline's own repository.
    WorkingTree,
    /// A repository by its address.
    Address {
        /// The address.
        url: Template,
        /// The connector that knows the credentials.
        connector: Option<Template>,
    },
}

/// What is checked out.
#[derive(Debug, Clone)]
pub enum Revision {
    /// What the repository has as its default.
    Default,
    /// A branch.
    Branch(Template),
    /// A tag.
    Tag(Template),
    /// A commit.
    Commit(Template),
    /// A pull request by its number.
    PullRequest(Template),
}

/// Which submodules come too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submodules {
    /// None.
    #[default]
    None,
    /// Those of the repository.
    Own,
    /// Those of the repository, and theirs.
    All,
}
