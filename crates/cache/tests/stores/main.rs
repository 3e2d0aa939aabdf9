//! Stores: what is kept in a directory and in a bucket, and what becomes of it when something goes wrong.

mod artifacts;
mod bucket;
mod directory;
mod rig;
mod s3;
