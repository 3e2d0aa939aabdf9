//! The types of steps that are read, each with the keys of its `spec` and its reader.

use kiln_document::schema::Table;
use kiln_document::yaml::Node;

use super::reader::Reader;
use super::words::{BUILD_TYPES, CLONE_TYPES, RUN_TYPES, STORE_TYPES, TEST_TYPES};
use super::{build_tables, builds, clones, run, step_tables, stores, test_steps};
use crate::plan::StepKind;

/// All of them, by their readers.
pub(super) const TYPES: [&[&str]; 5] = [RUN_TYPES, TEST_TYPES, CLONE_TYPES, BUILD_TYPES, STORE_TYPES];

/// Reads what a step of one of these types does.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    if TEST_TYPES.contains(&kind) {
        test_steps::read(reader, step, kind)
    } else if CLONE_TYPES.contains(&kind) {
        clones::read(reader, step)
    } else if BUILD_TYPES.contains(&kind) {
        builds::read(reader, step, kind)
    } else if STORE_TYPES.contains(&kind) {
        stores::read(reader, step, kind)
    } else {
        run::read(reader, step, kind)
    }
}

/// Returns the keys of the `spec` of a step of one of these types.
pub(super) fn table(kind: &str) -> &'static Table {
    match kind {
        "Run" => &step_tables::RUN,
        "Background" => &step_tables::BACKGROUND,
        "Plugin" => &step_tables::PLUGIN,
        "RunTests" => &step_tables::RUN_TESTS,
        "Test" => &step_tables::TEST,
        "GitClone" => &step_tables::GIT_CLONE,
        kind if BUILD_TYPES.contains(&kind) => &build_tables::BUILD,
        kind => stores::table(kind),
    }
}
