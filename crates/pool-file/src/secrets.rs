//! Secrets that stand in a file are not shown with its findings.

use std::ops::Range;

use kiln_pipeline::yaml::{Kind, Node};

/// Keys, of all drivers, whose values are secrets.
const KEYS: &[&str] =
    &["access_key_secret", "aws_session_token", "password", "client_secret", "auth_token", "pat", "user_data"];

/// The file's text with a star for each byte of a secret. `readable` says that the text was YAML to its end.
pub(crate) fn masked(bytes: &[u8], documents: &[Node], readable: bool) -> String {
    let mut bytes = bytes.to_vec();
    let mut spans = Vec::new();
    documents.iter().for_each(|document| find(document, &mut spans));
    if !readable {
        find_in_text(&bytes, &mut spans);
    }
    for span in spans {
        let end = span.end.min(bytes.len());
        for byte in bytes.get_mut(span.start.min(end)..end).unwrap_or_default() {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_secret(key: &str) -> bool {
    KEYS.iter().any(|secret| secret.eq_ignore_ascii_case(key))
}

fn find(node: &Node, spans: &mut Vec<Range<usize>>) {
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::Sequence(items) => items.iter().for_each(|item| find(item, spans)),
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                match key.text() {
                    Some(key) if is_secret(key) => spans.push(value.location.span.clone()),
                    _ => find(value, spans),
                }
            }
        }
    }
}

/// Without a tree: whatever follows such a key in its line.
fn find_in_text(bytes: &[u8], spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let lower = line.to_ascii_lowercase();
        let holds = |key: &&&str| lower.windows(key.len()).any(|window| window == key.as_bytes());
        if let (Some(_), Some(colon)) = (KEYS.iter().find(holds), lower.iter().position(|byte| *byte == b':')) {
            spans.push(start + colon + 1..start + line.len());
        }
        start += line.len();
    }
}
