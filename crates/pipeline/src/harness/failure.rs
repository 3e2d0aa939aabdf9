//! `failureStrategies`

use kiln_document::diagnostic::Diagnostic;
use kiln_document::duration;
use kiln_document::yaml::Node;

use super::reader::Reader;
use super::step_tables;
use crate::plan::{ErrorKind, FailureAction, FailureStrategy, Limit};

/// Most retries of a step; more would be a loop.
pub const MAX_RETRIES: u32 = 1000;

/// What a strategy stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Stage,
    Group,
    Step,
}

/// Reads the strategies of a stage, group or step.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, on: On) -> Vec<FailureStrategy> {
    let Some(list) = node.get("failureStrategies") else { return Vec::new() };
    let items = list.items().unwrap_or_default();
    items.iter().filter_map(|item| strategy(reader, item, on)).collect()
}

fn strategy(reader: &mut Reader<'_>, item: &Node, on: On) -> Option<FailureStrategy> {
    let on_failure = match item.get("onFailure") {
        Some(on_failure) => on_failure,
        None => {
            reader.missing(item, &["onFailure"], &item.location, "the failure strategy has no `onFailure`", "");
            return None;
        }
    };
    let mut errors: Vec<ErrorKind> = Vec::new();
    for error in on_failure.get("errors").and_then(Node::items).unwrap_or_default() {
        let kind = error_kind(error.text().unwrap_or_default());
        if !errors.contains(&kind) {
            errors.push(kind);
        }
    }
    if errors.is_empty() && on_failure.get("errors").is_none_or(|errors| errors.items().is_some()) {
        let message = "the failure strategy names no `errors`";
        reader.missing(
            on_failure,
            &["errors"],
            &on_failure.location,
            message,
            "for every failure: `errors: [AllErrors]`",
        );
    }
    let action = action(reader, on_failure, Some(on))?;
    Some(FailureStrategy { errors, action })
}

fn error_kind(word: &str) -> ErrorKind {
    match word {
        "AllErrors" => ErrorKind::All,
        "Timeout" => ErrorKind::Timeout,
        "Connectivity" | "DelegateRestart" | "DelegateProvisioning" | "InfrastructureFailure" => {
            ErrorKind::Infrastructure
        }
        "Authentication" | "Authorization" | "PolicyEvaluationFailure" | "InputTimeoutError" | "ApprovalRejection" => {
            ErrorKind::Never
        }
        _ => ErrorKind::Step,
    }
}

/// Reads the `action` of a mapping. `on` is absent for what follows a retry.
fn action(reader: &mut Reader<'_>, node: &Node, on: Option<On>) -> Option<FailureAction> {
    let Some(action) = node.get("action") else {
        reader.missing(node, &["action"], &node.location, "the failure strategy has no `action`", "");
        return None;
    };
    let Some(kind) = reader.fixed(action, "type") else {
        if action.get("type").is_none() {
            reader.missing(action, &["type"], &action.location, "the failure action has no `type`", "");
        }
        return None;
    };
    let place = action.get("type").map_or(&action.location, |kind| &kind.location);
    match kind {
        "Ignore" => Some(FailureAction::Ignore),
        "Abort" => Some(FailureAction::Abort),
        "MarkAsSuccess" => Some(FailureAction::MarkAsSuccess),
        "Retry" => {
            let (count, intervals, spec) = retries(reader, action, kind)?;
            let then = spec.get("onRetryFailure").and_then(|then| self::action(reader, then, None));
            let then = Box::new(then.unwrap_or(FailureAction::MarkAsFailure));
            Some(FailureAction::Retry { count, intervals, then })
        }
        "RetryStepGroup" if on == Some(On::Group) => {
            let (count, intervals, _) = retries(reader, action, kind)?;
            Some(FailureAction::RetryGroup { count, intervals })
        }
        "RetryStepGroup" => {
            let where_not = match on {
                Some(On::Stage) => "stage",
                Some(On::Group | On::Step) => "step",
                None => "retry",
            };
            let message = format!("`RetryStepGroup` is for a step group, and this is the strategy of a {where_not}");
            let found = Diagnostic::invalid("failure-action", place, message);
            reader.push(found.help("`Retry` runs the failed step again; a step group has its own `failureStrategies`"));
            None
        }
        "MarkAsFailure" => Some(FailureAction::MarkAsFailure),
        "StageRollback"
        | "StepGroupRollback"
        | "PipelineRollback"
        | "ManualIntervention"
        | "ProceedWithDefaultValues" => {
            let message = format!("`{kind}` becomes `MarkAsFailure` in a local run");
            reader.push(Diagnostic::note("mapped-action", place, message));
            Some(FailureAction::MarkAsFailure)
        }
        // An unknown word was reported by the check.
        _ => None,
    }
}

/// Reads how often and after which waits something runs again, and returns the mapping that says so.
fn retries<'n>(reader: &mut Reader<'_>, action: &'n Node, kind: &str) -> Option<(u32, Vec<Limit>, &'n Node)> {
    let Some(spec) = action.get("spec") else {
        let help = "`spec: {retryCount: 2, retryIntervals: [10s]}`";
        reader.missing(action, &["spec"], &action.location, format!("the action `{kind}` has no `spec`"), help);
        return None;
    };
    let table = if kind == "Retry" { &step_tables::RETRY } else { &step_tables::RETRY_GROUP };
    if !reader.check(spec, table) {
        return None;
    }
    let count = match reader.fixed(spec, "retryCount") {
        Some(text) => count(reader, spec, text),
        None => {
            if spec.get("retryCount").is_none() {
                let message = format!("the action `{kind}` has no `retryCount`");
                reader.missing(spec, &["retryCount"], &spec.location, message, "");
            }
            return None;
        }
    };
    let list = spec.get("retryIntervals").and_then(Node::items).unwrap_or_default();
    let wait = |item: &Node| {
        let written = item.text()?.trim();
        Some(Limit { time: duration::parse(written)?, written: written.to_owned() })
    };
    Some((count?, list.iter().filter_map(wait).collect(), spec))
}

fn count(reader: &mut Reader<'_>, spec: &Node, text: &str) -> Option<u32> {
    let read = text.trim().parse::<u32>().ok().filter(|count| *count <= MAX_RETRIES);
    if read.is_none() {
        let place = spec.get("retryCount").map_or(&spec.location, |count| &count.location);
        let message = format!("`retryCount` takes a whole number up to {MAX_RETRIES}, not `{text}`");
        reader.push(Diagnostic::invalid("out-of-range", place, message));
    }
    read
}
