//! End-to-end tests of the built program `kiln` on real VMs: the examples in `tests/examples`, runners in `tests/runner`.
//!
//! `make test` builds the program and the image first. To run them alone: `make image`, then
//! `cargo nextest run -p kiln-e2e`.
