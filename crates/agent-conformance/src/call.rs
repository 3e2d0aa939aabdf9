//! One request and its answer.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Version};
use serde_json::Value;

use crate::expect::{Expected, Finding, breach, same};

/// The whole answer to a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The request, for messages.
    pub(crate) request: String,
}

/// Makes a request as it is, without any header of its own but those that HTTP needs.
pub(crate) async fn call(
    client: &Client,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<reqwest::Body>,
) -> Expected<Answer> {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let request = format!("{method} /{path}");
    let known = Method::from_bytes(method.as_bytes()).map_err(|e| Finding::Breach(format!("{request}: {e}")))?;
    let mut builder = client.request(known, url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    if let Some(body) = body {
        builder = builder.body(body);
    }
    let unanswered = |error: &reqwest::Error| Finding::Breach(format!("{request} is not answered: {}", chain(error)));
    let answer = builder.send().await.map_err(|e| unanswered(&e))?;
    let (status, version, headers) = (answer.status().as_u16(), answer.version(), answer.headers().clone());
    let body = answer.bytes().await.map_err(|e| unanswered(&e))?;
    Ok(Answer { status, version, headers, body, request })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn has_status(&self, expected: u16) -> Expected<&Self> {
        if self.status == expected {
            return Ok(self);
        }
        let text = self.text().chars().take(300).collect::<String>();
        breach(format!(
            "{} is answered with status {} and should be with {expected}: {text:?}",
            self.request, self.status
        ))
    }

    /// The JSON of the body.
    pub(crate) fn json(&self) -> Expected<Value> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Finding::Breach(format!("the answer to {} is no JSON ({e}): {:?}", self.request, self.text())))
    }

    /// A success, and its JSON.
    pub(crate) fn ok(&self) -> Expected<Value> {
        self.has_status(200)?.json()
    }

    /// A success that says nothing more.
    pub(crate) fn is_empty(&self) -> Expected {
        same(&format!("the answer to {}", self.request), self.ok()?, serde_json::json!({}))
    }

    /// A refusal of this status, with the one field that refusals have; its text.
    pub(crate) fn refusal(&self, status: u16) -> Expected<String> {
        let body = self.has_status(status)?.json()?;
        let fields = crate::expect::object(&format!("the answer to {}", self.request), &body)?;
        match fields.get("error_msg").and_then(Value::as_str) {
            Some(text) if fields.len() == 1 && !text.is_empty() => Ok(text.to_owned()),
            _ => breach(format!("the answer to {} should be {{\"error_msg\": \"...\"}} and is {body}", self.request)),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
