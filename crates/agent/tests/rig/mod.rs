//! The shared rig, under the name that these tests have for it.
#![allow(unused_imports)] // no test needs all of it

pub use kiln_agent_rig::*;
