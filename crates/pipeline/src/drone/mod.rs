//! Drone's `kind: pipeline` documents to a plan.

use crate::diagnostic::Findings;
use crate::load::Options;
use crate::plan::Plan;
use crate::yaml::Node;

pub(crate) fn read(_documents: &[Node], _options: &Options, _findings: &mut Findings) -> Option<Plan> {
    None
}
