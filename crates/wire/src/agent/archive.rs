//! The routes with which caches are saved and restored. They are ours, like those of [`super::kiln`].
//!
//! | Route | Method | Request | Answer |
//! |---|---|---|---|
//! | [`LOOK`] | POST | [`LookRequest`] | [`LookResponse`] |
//! | [`ARCHIVE`] | POST | [`PackRequest`] | an archive and its [`PackedResponse`], see below |
//! | [`ARCHIVE`] | PUT | `?request=` with an [`UnpackRequest`], an archive | [`UnpackedResponse`](super::kiln::UnpackedResponse); 422 for a broken archive |
//!
//! Paths may be relative to a base, absolute, or begin with `~/` for the home directory of the steps' account. They may be globs, and a
//! directory stands for everything in it. Entries of an archive are named by the number of their path in the request, a slash, and
//! where they lie below the part of the path that has no glob and is not its last name. So an archive says nothing about where its files
//! go: whoever unpacks it does, and an entry that its path does not cover is refused. The last entry is called [`END`]; without it
//! the archive is broken.
//!
//! An archive that is packed may break when half of it is sent. So the body is followed by a [`PackedResponse`] in JSON, and that by
//! the length of the JSON as four bytes, the least significant first. A body that ends otherwise was cut off.

use crate::message::{message, words};

/// `POST`: what there is at paths, and digests of files.
pub const LOOK: &str = "/kiln/v1/look";
/// `POST`: packs what lies at paths. `PUT`: unpacks that.
pub const ARCHIVE: &str = "/kiln/v1/archive";

/// Name of an archive's last entry.
pub const END: &str = "end";
/// Longest [`PackedResponse`], as JSON, in bytes.
pub const PACKED_MAX_BYTES: usize = 16 << 10;
/// Bytes of its length.
pub const LENGTH_BYTES: usize = 4;

/// Status of the answer about an archive that is broken.
pub const BROKEN: u16 = 422;

words! {
    /// How an archive is packed.
    pub enum Format {
        /// A tar archive as it is.
        Tar = "tar",
        /// Compressed by gzip.
        Gzip = "gzip",
        /// Compressed by zstd.
        Zstd = "zstd",
    }
}

message! {
    /// Asks what there is.
    pub struct LookRequest {
        /// Directory that relative paths start at.
        base: String = "base",
        /// Paths of files whose contents are to be digested.
        digests: Vec<String> = "digests",
        /// Paths that may hold something.
        paths: Vec<String> = "paths",
    }

    /// What there is, in the order of the request.
    pub struct LookResponse {
        /// Digests of files.
        digests: Vec<Digest> = "digests" always,
        /// Whether there is anything at each of the paths.
        found: Vec<bool> = "found" always,
    }

    /// The contents of the files at a path.
    pub struct Digest {
        /// How many files there are.
        files: u64 = "files" always,
        /// SHA-256 in hexadecimal digits: of the content of one file, and of several of their lines as `sha256sum` prints them, in the order
        /// of their names. Empty when there is none.
        sha256: String = "sha256" always,
    }

    /// Asks for an archive.
    pub struct PackRequest {
        /// Directory that relative paths start at.
        base: String = "base",
        /// What is packed.
        paths: Vec<String> = "paths",
        /// How.
        format: Format = "format",
        /// Largest sum of file sizes in bytes, 0 for the agent's setting.
        max_bytes: u64 = "max_bytes",
    }

    /// What was packed.
    pub struct PackedResponse {
        /// Entries of the archive.
        entries: u64 = "entries" always,
        /// Bytes of file content.
        bytes: u64 = "bytes" always,
        /// Why the archive is not whole; empty when it is.
        error: String = "error",
    }

    /// Says where an archive is unpacked, and what of it may be.
    pub struct UnpackRequest {
        /// Directory that relative paths start at.
        base: String = "base",
        /// The paths with which it was packed.
        paths: Vec<String> = "paths",
        /// How it was packed.
        format: Format = "format",
    }
}
