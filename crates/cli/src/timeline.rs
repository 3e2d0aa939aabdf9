//! The history of an instance or a stage for people: the time in each state, and the reason for each change.

use kiln_document::count::counted;
use kiln_wire::runner::kiln::{Change, EndCause};

use crate::ages::{age, clock, lasted};
use crate::table::{Cell, Side, Table, clean};

/// Lines of evidence that are shown. The end of a console can be long, and the API has all of it.
const EVIDENCE_LINES: usize = 40;

/// Returns lines `name  value`, aligned, without those that have no value.
#[must_use]
pub fn facts(facts: &[(&str, String)]) -> String {
    let told = facts.iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| format!("{name:<10}{}\n", clean(value))).collect()
}

/// Returns the changes, each with the time until the next one.
#[must_use]
pub fn timeline(changes: &[Change], is_over: bool, now_ms: i64) -> String {
    let Some(first) = changes.first() else { return String::new() };
    let mut table =
        Table::new(&[("AFTER", Side::Right), ("STATE", Side::Left), ("LASTED", Side::Right), ("WHY", Side::Left)]);
    for (at, change) in changes.iter().enumerate() {
        let until = match changes.get(at + 1) {
            Some(next) => lasted(next.at_unix_ms - change.at_unix_ms),
            None if is_over => String::new(),
            None => format!("{} so far", age(now_ms - change.at_unix_ms)),
        };
        let after = lasted(change.at_unix_ms - first.at_unix_ms);
        table.row([after.into(), Cell::state(&change.state), until.into(), (&change.reason).into()]);
    }
    format!("\nsince {}\n{}", clock(first.at_unix_ms), table.text(None))
}

/// Returns the cause of an end: the kind, and the evidence below it.
#[must_use]
pub fn cause(cause: &EndCause) -> String {
    let lines: Vec<&str> = cause.evidence.trim_end().lines().collect();
    let code = clean(&cause.code);
    match lines.as_slice() {
        [] => format!("{:<10}{code}\n", "ended by"),
        [only] => format!("{:<10}{code}: {}\n", "ended by", clean(only)),
        many => {
            let mut text = format!("{:<10}{code}\n", "ended by");
            let left_out = many.len().saturating_sub(EVIDENCE_LINES);
            if left_out > 0 {
                text.push_str(&format!("  | ({} more in --format json)\n", counted(left_out, "line")));
            }
            many[left_out..].iter().for_each(|line| text.push_str(&format!("  | {}\n", clean(line))));
            text
        }
    }
}

/// Returns a cause in one line, for tables. The end of the evidence is the most informative.
#[must_use]
pub fn short_cause(cause: &EndCause) -> String {
    match cause.evidence.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{}: {}", cause.code, line.trim()),
        None => cause.code.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(evidence: &str) -> EndCause {
        EndCause { code: "died".into(), evidence: evidence.into() }
    }

    #[test]
    fn causes() {
        assert_eq!(cause(&ended("")), "ended by  died\n");
        assert_eq!(cause(&ended("exit 1\n")), "ended by  died: exit 1\n");
        assert_eq!(cause(&ended("a\n\u{1b}[2Jb\n")), "ended by  died\n  | a\n  |  [2Jb\n");
        assert_eq!(short_cause(&ended("a\nb\n\n")), "died: b");
        assert_eq!(short_cause(&ended("")), "died");
    }

    #[test]
    fn the_end_of_long_evidence_is_shown() {
        let long: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let shown = cause(&ended(&long));
        assert!(shown.starts_with("ended by  died\n  | (10 lines more in --format json)\n  | line 10\n"), "{shown}");
        assert!(shown.ends_with("  | line 49\n"), "{shown}");
    }
}
