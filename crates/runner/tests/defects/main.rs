//! The incumbent's defects in pools, engine, database and process, by their number in our study of it. Each test is
//! named after our own behaviour. There are no machines and the clock is turned by hand; planner, engine and database
//! are the real ones.
//!
//! Not here:
//! - 02, 03, 04, 06, 07, 11, 19, 22, 23, 24 appear at the API and have their tests in `http_api`.
//! - 13 is about commands that set up single machines without a runner. We have none: `kiln run` uses the same engine.
//! - 20 is about the AWS driver, and is tested there.
//! - 27 is about a protocol that we do not speak.
//! - 28 is about a predictor that we do not have: the pool file alone decides what is warm.

mod cloud;
mod faults;
mod limits;
mod process;
mod restarts;
mod rig;
mod supply;
