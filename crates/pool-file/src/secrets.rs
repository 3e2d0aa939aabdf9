//! Hides secrets of a file in the excerpts of its findings.

use std::ops::Range;

use kiln_document::yaml::{Kind, Node};

/// Keys whose values are secrets, or may contain some.
const KEYS: &[&str] = &["pat", "user_data"];
/// Parts of the names of such keys, for all drivers and including misspellings.
const PARTS: &[&str] = &["secret", "secert", "token", "passw", "psw", "pwd", "credential"];
/// Endings of names that contain `key` but hold no secret.
const NAMES_OF_KEYS: &[&str] = &["_id", "_name", "_arn"];

/// Returns the file's text with a star for each byte of a secret. `readable` says that the text was YAML to its end.
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

/// Returns whether the value of a key must be hidden. In doubt it is.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let of_key = key.contains("key") && !NAMES_OF_KEYS.iter().any(|end| key.ends_with(end));
    KEYS.contains(&key.as_str()) || of_key || PARTS.iter().any(|part| key.contains(part))
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

/// Finds secrets without a tree: everything after such a key in its line.
fn find_in_text(bytes: &[u8], spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let holds = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_secret);
        if let (true, Some(colon)) = (holds, line.iter().position(|byte| *byte == b':')) {
            spans.push(start + colon + 1..start + line.len());
        }
        start += line.len();
    }
}
