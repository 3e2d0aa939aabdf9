//! End-to-end tests: the built program `kiln` runs pipelines on real VMs. They lie in `tests/examples`.
//!
//! `make test` builds the program and the image first. To run them alone: `make image`, then
//! `cargo nextest run -p kiln-e2e`.
