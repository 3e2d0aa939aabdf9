//! What came to the services.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Annotated, LINE_BYTES, Minted};

/// All that came.
#[derive(Debug, Default)]
pub struct Record {
    /// Logs by their keys.
    pub logs: BTreeMap<String, Log>,
    /// Requests for annotations.
    pub annotated: Vec<Annotated>,
    /// Requests for tokens.
    pub minted: Vec<Minted>,
    /// Breaches of the protocol in requests, for people.
    pub faults: Vec<String>,
}

/// What came for one key of the log service.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// How often it was opened.
    pub opened: u32,
    /// Whether lines are taken.
    pub is_open: bool,
    /// Its lines by their numbers; one that came twice counts once.
    pub lines: BTreeMap<u64, Line>,
    /// How many lines came again.
    pub again: u64,
    /// How many batches came.
    pub batches: u64,
    /// Each closing, and whether a snapshot was asked for.
    pub closed: Vec<bool>,
    /// The uploaded lines.
    pub blob: Option<Vec<Line>>,
    /// Size of the upload in bytes.
    pub blob_bytes: usize,
    /// How often it was uploaded.
    pub uploads: u32,
    /// Headers of the latest upload to a signed link, in lower case.
    pub link_headers: Vec<String>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Number.
    pub pos: u64,
    /// Text.
    pub out: String,
    /// When, as RFC 3339.
    pub time: String,
}

impl Log {
    /// The text of all lines that came while it was open, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.values().map(|line| line.out.as_str()).collect()
    }

    /// The text of the upload.
    #[must_use]
    pub fn blob_text(&self) -> String {
        self.blob.iter().flatten().map(|line| line.out.as_str()).collect()
    }

    /// Whether the numbers of its lines are 0 and on, without a gap.
    #[must_use]
    pub fn is_without_gap(&self) -> bool {
        self.lines.keys().zip(0..).all(|(number, at)| *number == at)
    }
}

impl Record {
    pub(super) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Reads lines, whose numbers must rise.
    pub(super) fn lines<'a>(&mut self, values: impl Iterator<Item = &'a Value>) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for value in values {
            match line(value) {
                Ok(line) => {
                    if let Some(before) = lines.last().filter(|before| before.pos >= line.pos) {
                        self.fault(format!("line {} comes behind line {}", line.pos, before.pos));
                    }
                    lines.push(line);
                }
                Err(what) => self.fault(what),
            }
        }
        lines
    }
}

/// A line, which has exactly the fields of the protocol.
fn line(value: &Value) -> Result<Line, String> {
    let object = value.as_object().ok_or_else(|| format!("a line is {value}"))?;
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    if names != ["args", "level", "out", "pos", "time"] {
        return Err(format!("a line has the fields {names:?}"));
    }
    if value["level"] != "info" || !value["args"].is_null() {
        return Err(format!("a line's level is {} and its args are {}", value["level"], value["args"]));
    }
    let text = |name: &str| value[name].as_str().map(ToOwned::to_owned).ok_or_else(|| format!("{name} is no text"));
    let line = Line { pos: value["pos"].as_u64().ok_or("pos is no number")?, out: text("out")?, time: text("time")? };
    let cut = "... (log line truncated)";
    let (is_time, bytes) = (is_time(&line.time), line.out.trim_end_matches('\n').trim_end_matches(cut).len());
    // What is no UTF-8 takes three bytes where it took one.
    if bytes > LINE_BYTES && !line.out.contains('\u{fffd}') {
        return Err(format!("line {} has {bytes} bytes", line.pos));
    }
    if is_time { Ok(line) } else { Err(format!("{:?} is no time", line.time)) }
}

/// Whether this is RFC 3339 in UTC with a fraction.
fn is_time(text: &str) -> bool {
    let form = |c: char| if c.is_ascii_digit() { 'd' } else { c };
    let (whole, fraction) = text.split_once('.').unwrap_or_default();
    let is_fraction =
        fraction.strip_suffix('Z').is_some_and(|f| (1..=9).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
    whole.chars().map(form).collect::<String>() == "dddd-dd-ddTdd:dd:dd" && is_fraction
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_exactly_its_fields() {
        let good = json!({"level": "info", "pos": 1, "out": "x", "time": "2026-11-23T22:00:00.1Z", "args": null});
        assert!(line(&good).is_ok());
        let changes = [
            ("level", json!("error")),
            ("args", json!({})),
            ("pos", json!("1")),
            ("time", json!("now")),
            ("more", json!(1)),
        ];
        for (name, value) in changes {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(line(&bad).is_err(), "{bad}");
        }
        let mut long = good;
        long["out"] = json!("x".repeat(LINE_BYTES + 1));
        assert!(line(&long).is_err());
    }
}
