//! Long ids, abbreviated to their beginnings.

use crate::exit::Usage;

/// The common prefix of instances' ids. It may be omitted.
const PREFIX: &str = "kiln-";
/// Shortest abbreviation of an instance's id. Ids begin with their creation time in milliseconds, so a shorter one
/// would soon match other instances too.
const SHORT_MIN_CHARS: usize = PREFIX.len() + 12;
/// Most matches in an error message.
const LISTED: usize = 10;

/// The shortest abbreviations that distinguish ids.
#[derive(Debug, Default)]
pub struct ShortIds {
    sorted: Vec<String>,
}

impl ShortIds {
    /// Creates the abbreviations for these ids. Without any, ids are shown in full.
    pub fn of<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<String> = ids.map(str::to_owned).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted }
    }

    /// Returns the id, or as much of it as is needed.
    pub fn show<'i>(&self, id: &'i str) -> &'i str {
        let Ok(at) = self.sorted.binary_search_by(|other| other.as_str().cmp(id)) else { return id };
        let before = at.checked_sub(1).and_then(|at| self.sorted.get(at));
        let neighbours = before.into_iter().chain(self.sorted.get(at + 1));
        let shared = neighbours.map(|other| common(other, id)).max().unwrap_or(0);
        id.get(..(shared + 1).max(SHORT_MIN_CHARS)).unwrap_or(id)
    }
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// Returns the thing with the id `wanted`, or the only one whose id begins so; none when there is no match. `what`
/// names the kind: `instance`.
pub fn find<'t, T>(wanted: &str, what: &str, things: &'t [T], id: impl Fn(&T) -> &str) -> Result<Option<&'t T>, Usage> {
    if wanted.is_empty() {
        return Err(Usage(format!("the id of the {what} is empty")));
    }
    if let Some(exact) = things.iter().find(|thing| id(thing) == wanted) {
        return Ok(Some(exact));
    }
    let begins =
        |text: &str| text.starts_with(wanted) || text.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(wanted));
    let matches: Vec<&T> = things.iter().filter(|thing| begins(id(thing))).collect();
    if let [] | [_] = matches.as_slice() {
        return Ok(matches.first().copied());
    }
    let mut message = format!("`{wanted}` matches {} {what}s; give more of the id:", matches.len());
    for found in matches.iter().take(LISTED) {
        message.push_str("\n  ");
        message.push_str(&crate::table::clean(id(found)));
    }
    if matches.len() > LISTED {
        message.push_str(&format!("\n  and {} more", matches.len() - LISTED));
    }
    Err(Usage(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = [
        "kiln-019abc0000017a00800000000000000a",
        "kiln-019abc0000017a00800000000000000b",
        "kiln-019abc0000027a008000000000000001",
        "other",
    ];

    #[test]
    fn what_is_shown_is_found_again() {
        let short = ShortIds::of(IDS.into_iter());
        let shown = IDS.map(|id| short.show(id));
        assert_eq!(shown, [IDS[0], IDS[1], "kiln-019abc000002", "other"]);
        for (id, shown) in IDS.iter().zip(shown) {
            let found = find(shown, "instance", &IDS, |id| id).expect("one match");
            assert_eq!(found, Some(id));
        }
        assert_eq!(ShortIds::default().show(IDS[0]), IDS[0]);
    }

    #[track_caller]
    fn check(wanted: &str, expected: Result<Option<&str>, &str>) {
        let found = find(wanted, "instance", &IDS, |id| id).map(|found| found.copied());
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn beginnings() {
        check("kiln-019abc000002", Ok(Some(IDS[2])));
        check("019abc000002", Ok(Some(IDS[2])));
        check("oth", Ok(Some("other")));
        check("nothing", Ok(None));
        check("", Err("the id of the instance is empty"));
        let both = format!("`019abc000001` matches 2 instances; give more of the id:\n  {}\n  {}", IDS[0], IDS[1]);
        check("019abc000001", Err(&both));
    }

    #[test]
    fn an_exact_id_is_not_the_beginning_of_another() {
        let ids = ["build", "build-2"];
        assert_eq!(find("build", "stage", &ids, |id| id).expect("exact"), Some(&"build"));
    }

    #[test]
    fn long_lists_are_cut() {
        let ids: Vec<String> = (0..12).map(|n| format!("stage-{n:02}")).collect();
        let error = find("st", "stage", &ids, |id| id).expect_err("ambiguous").to_string();
        assert!(error.ends_with("stage-09\n  and 2 more"), "{error}");
    }
}
