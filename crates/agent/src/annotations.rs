//! Posts the annotations that a step has written down, when it has succeeded.
//!
//! The file has the form that the protocol's own tools write. The step makes it, so nothing in it is trusted: it is
//! read up to a limit, checked field by field and masked. A failure is told in the agent's log alone.

use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use kiln_mask::Secrets;
use kiln_wire::agent::{AnnotationsConfig, StartStepRequest};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::services::Services;
use crate::web::{self, Caller};

/// The variable that switches them on, with `true`.
const SWITCH: &str = "CI_ENABLE_HARNESS_ANNOTATIONS";
/// Largest number of annotations, and largest size of a summary.
const MOST: usize = 50;
const SUMMARY_BYTES: usize = 64 << 10;
/// A larger file is not read.
pub(crate) const FILE_BYTES: u64 = (MOST * SUMMARY_BYTES + (256 << 10)) as u64;
/// How long a post may take, and how often it is tried.
const WITHIN: Duration = Duration::from_secs(3);
const TRIES: usize = 2;
/// Priority of an annotation that does not name one from 0 to 10.
const PRIORITY: i64 = 3;

/// Annotations as a step writes them down.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    account_id: String,
    org_id: String,
    project_id: String,
    pipeline_id: String,
    plan_execution_id: String,
    stage_execution_id: String,
    annotations: Vec<Annotation>,
}

/// What is posted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    #[serde(skip_serializing_if = "String::is_empty")]
    org_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    project_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pipeline_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stage_execution_id: String,
    plan_execution_id: String,
    annotations: Vec<Annotation>,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Annotation {
    context_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mode: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    summary: String,
    #[serde(skip_serializing_if = "is_zero")]
    priority: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    step_id: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Where a step's annotations are posted; none when they are not.
#[derive(Debug)]
pub(crate) struct Annotations {
    services: Services,
    base: String,
    authorization: HeaderValue,
    step: String,
}

impl Annotations {
    /// Returns where the annotations of a step go. `variable` gives the value of a variable in its environment.
    pub(crate) fn of<'a>(
        request: &StartStepRequest,
        services: Option<Services>,
        variable: impl Fn(&str) -> Option<&'a String>,
    ) -> Option<Self> {
        let AnnotationsConfig { token, base_url } = &request.annotations_config;
        let (base, token) = (base_url.trim().trim_end_matches('/'), token.trim());
        let is_on = variable(SWITCH).is_some_and(|value| value == "true");
        if !is_on || base.is_empty() || token.is_empty() {
            return None;
        }
        let mut authorization = HeaderValue::from_str(&format!("Annotations {token}")).ok()?;
        authorization.set_sensitive(true);
        Some(Self { services: services?, base: base.to_owned(), authorization, step: request.id.clone() })
    }

    /// Posts the annotations of a file's text.
    pub(crate) async fn post(self, text: String, secrets: &Secrets) {
        if let Err(error) = self.try_post(&text, secrets).await {
            tracing::warn!(step = self.step, error, "annotations are not posted");
        }
    }

    async fn try_post(&self, text: &str, secrets: &Secrets) -> Result<(), String> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| format!("the file cannot be read: {}", kiln_wire::Unreadable::from(error)))?;
        let annotations = folded(file.annotations, &self.step, secrets);
        if annotations.is_empty() || file.account_id.is_empty() {
            return Ok(());
        }
        let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (account, execution) = (quoted(&file.account_id), quoted(&file.plan_execution_id));
        let base = &self.base;
        let address = format!("{base}/api/pipelines/annotations?accountId={account}&planExecutionId={execution}");
        let address: Uri = web::address(&address).ok_or_else(|| format!("annotations_config.base_url is {base:?}"))?;
        let post = Post {
            org_id: file.org_id,
            project_id: file.project_id,
            pipeline_id: file.pipeline_id,
            stage_execution_id: file.stage_execution_id,
            plan_execution_id: file.plan_execution_id,
            annotations,
        };
        let body = serde_json::to_vec(&post).map_err(|error| error.to_string())?;
        let mut caller = Caller::new(self.services.web.clone());
        let mut failed = String::new();
        for _ in 0..TRIES {
            let request = Request::builder().method(Method::POST).uri(address.clone());
            let request =
                request.header(AUTHORIZATION, self.authorization.clone()).header(CONTENT_TYPE, "application/json");
            let request = request.body(Body::from(body.clone())).map_err(|error| error.to_string())?;
            match caller.call(request, false, WITHIN).await {
                Ok(_) => return Ok(()),
                Err(error) => failed = error.to_string(),
            }
        }
        Err(failed)
    }
}

/// Makes one annotation of all those of a context: the latest decides how it is shown, and texts are appended where
/// they say so.
fn folded(given: Vec<Annotation>, step: &str, secrets: &Secrets) -> Vec<Annotation> {
    let mut folded: Vec<Annotation> = Vec::new();
    for annotation in given.into_iter().take(MOST).filter(|annotation| !annotation.context_id.is_empty()) {
        let at = folded.iter().position(|known| known.context_id == annotation.context_id);
        let known = at.map(|at| folded.remove(at));
        folded.push(with(known, annotation, step, secrets));
    }
    folded
}

fn with(known: Option<Annotation>, new: Annotation, step: &str, secrets: &Secrets) -> Annotation {
    let mode = match new.mode.to_ascii_lowercase().as_str() {
        "append" => "append",
        "delete" => "delete",
        // Any other word, and none.
        _ => "replace",
    };
    let context_id = new.context_id;
    if mode == "delete" {
        return Annotation { context_id, mode: mode.into(), step_id: step.into(), ..Annotation::default() };
    }
    let known = known.unwrap_or_default();
    let style = match new.style.to_ascii_lowercase().as_str() {
        "" => known.style,
        style @ ("info" | "success" | "warning" | "error") => style.into(),
        _ => "info".into(),
    };
    let summary = secrets.mask(new.summary).into_inner();
    let mut summary = match (mode, summary.is_empty(), known.summary.is_empty()) {
        (_, true, _) => known.summary,
        ("append", false, false) => format!("{}\n{summary}", known.summary),
        _ => summary,
    };
    summary.truncate(summary.floor_char_boundary(SUMMARY_BYTES));
    Annotation {
        context_id,
        mode: mode.into(),
        style,
        summary,
        priority: if (0..=10).contains(&new.priority) { new.priority } else { PRIORITY },
        timestamp: if new.timestamp > 0 { new.timestamp } else { known.timestamp },
        step_id: new.step_id,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(given: &Value, expect: &Value) {
        let secrets = Secrets::default();
        secrets.add(["sesame"]);
        let given: Vec<Annotation> = serde_json::from_value(given.clone()).expect("annotations");
        let folded = serde_json::to_value(folded(given, "s1", &secrets)).expect("JSON");
        assert_eq!(&folded, expect);
    }

    #[test]
    fn annotations_of_one_context_become_one() {
        check(
            &json!([
                {"contextId": "a", "mode": "REPLACE", "style": "Error", "summary": "one", "priority": 99, "stepId": "x"},
                {"contextId": "b", "summary": "other sesame"},
                {"contextId": "a", "mode": "append", "summary": "two", "timestamp": 5, "priority": 7},
                {"summary": "of nothing"},
            ]),
            &json!([
                {"contextId": "b", "mode": "replace", "summary": "other **************"},
                {"contextId": "a", "mode": "append", "style": "error", "summary": "one\ntwo", "priority": 7, "timestamp": 5},
            ]),
        );
        check(
            &json!([{"contextId": "a", "summary": "one"}, {"contextId": "a", "mode": "delete", "summary": "x"}]),
            &json!([{"contextId": "a", "mode": "delete", "stepId": "s1"}]),
        );
        check(
            &json!([{"contextId": "a", "style": "loud"}]),
            &json!([{"contextId": "a", "mode": "replace", "style": "info"}]),
        );
    }

    #[test]
    fn they_are_bounded() {
        let long = "\u{e9}".repeat(SUMMARY_BYTES);
        let many: Vec<Value> = (0..60).map(|n| json!({"contextId": n.to_string(), "summary": long})).collect();
        let many: Vec<Annotation> = serde_json::from_value(json!(many)).expect("annotations");
        let folded = folded(many, "s1", &Secrets::default());
        assert_eq!(folded.len(), MOST);
        assert!(folded.iter().all(|annotation| annotation.summary.len() <= SUMMARY_BYTES));
    }
}
