//! A small language for tests: text to tree to findings to report.

use kiln_document::diagnostic::Findings;
use kiln_document::schema::{Key, Language, Shape, Table, check};
use kiln_document::yaml::{self, Repeats};
use kiln_document::{Report, Severity, Status};

static OVEN: Table = Table::closed(
    "oven",
    &[
        Key::read("fuel", Shape::Enum(&["gas", "wood"]), "what it burns"),
        Key::read("shelves", Shape::List(&Shape::Text), "its shelves"),
        Key::read("door", Shape::Map(&Shape::Text), "its door").or_expression(),
        Key::read("timer", Shape::Of(&TIMER), "when it ends"),
        Key::unsupported("fan", "there is no current"),
        Key::no_effect("colour", Shape::Text, "it is dark inside"),
    ],
);

static TIMER: Table = Table::closed(
    "timer",
    &[Key::read("minutes", Shape::Number, "how long"), Key::read("bell", Shape::Text, "what rings")],
);

fn report(text: &str, expression_marker: Option<&'static str>) -> Report {
    let mut findings = Findings::new(false);
    let documents = yaml::parse(text.as_bytes(), &mut findings);
    let language = Language { expression_marker, ignores_unknown: false, tables: &[&OVEN] };
    for document in &documents {
        check(document, &Shape::Of(&OVEN), language, &mut findings);
    }
    Report::new("oven.yml", text.to_owned(), findings)
}

#[test]
fn the_heaviest_finding_decides_the_status() {
    let cases = [
        ("fuel: wood", Status::Ok, None),
        ("colour: red", Status::Ok, Some(("no-effect", Severity::Note))),
        ("fan: 1\ncolour: red", Status::Unsupported, Some(("unsupported-key", Severity::Unsupported))),
        ("fan: 1\nfule: gas", Status::Invalid, Some(("unsupported-key", Severity::Unsupported))),
        ("fuel: coal", Status::Invalid, Some(("unknown-value", Severity::Invalid))),
        ("fuel: [gas", Status::Invalid, Some(("yaml-syntax", Severity::Invalid))),
    ];
    for (text, status, first) in cases {
        let report = report(text, None);
        assert_eq!(report.status(), status, "{text}: {}", report.text(false));
        assert_eq!(report.diagnostics.first().map(|found| (found.code, found.severity)), first, "{text}");
        assert_eq!(report.text(false).is_empty(), first.is_none());
    }
}

#[test]
fn expressions_are_those_of_the_language() {
    let codes =
        |text: &str, marker| -> Vec<&str> { report(text, marker).diagnostics.iter().map(|found| found.code).collect() };
    assert_eq!(codes("fuel: $(x)", None), ["unknown-value"]);
    assert_eq!(codes("fuel: $(x)", Some("$(")), [""; 0]);
    assert_eq!(codes("shelves: $(x)", Some("$(")), ["expression-not-possible"], "a reader takes lists apart");
    assert_eq!(codes("door: $(x)", Some("$(")), [""; 0], "but for those that may be an expression as a whole");
    assert_eq!(codes("door: $(x)", None), ["wrong-type"]);
}

#[test]
fn a_report_points_into_the_file() {
    let report = report("fuel: gas\nshelfs: []\n", None);
    insta::assert_snapshot!(report.text(false), @r"
    error[unknown-key]: unknown key `shelfs` in an oven
     --> oven.yml:2:1
      |
    2 | shelfs: []
      | ^^^^^^
      |
      = help: did you mean `shelves`?
    ");
    insta::assert_snapshot!(report.json(), @r#"{"file":"oven.yml","status":"invalid","diagnostics":[{"code":"unknown-key","severity":"invalid","message":"unknown key `shelfs` in an oven","line":2,"column":1,"help":"did you mean `shelves`?"}]}"#);
}

/// Both readings of a mapping with repeated keys, as JSON, with the codes of the findings.
#[test]
fn keys_that_repeat_count_as_the_format_says() {
    let read = |text: &str, repeats| {
        let mut findings = Findings::new(false);
        let documents = yaml::parse_with(text.as_bytes(), repeats, &mut findings);
        let value = documents.last().map(|last| last.get("it").unwrap_or(last).to_json().to_string());
        let codes: Vec<_> = findings.into_sorted().into_iter().map(|found| (found.severity, found.code)).collect();
        (value.unwrap_or_default(), codes)
    };
    let anchors = "a: &a {x: a, y: a}\nb: &b {x: b, z: b}\n";
    let twice = [(Severity::Warning, "duplicate-key")];
    for (own, refused, last_counts, told) in [
        ("{x: 1, x: 2}", r#"{"x":1}"#, r#"{"x":2}"#, &twice[..]),
        ("{<<: *a, <<: *b}", r#"{"x":"b","y":"a","z":"b"}"#, r#"{"x":"b","y":"a","z":"b"}"#, &twice),
        ("{<<: [*a, *b]}", r#"{"x":"a","y":"a","z":"b"}"#, r#"{"x":"a","y":"a","z":"b"}"#, &[]),
        ("{<<: *a, x: own}", r#"{"x":"own","y":"a"}"#, r#"{"x":"own","y":"a"}"#, &[]),
        ("{x: own, <<: *a}", r#"{"x":"own","y":"a"}"#, r#"{"x":"a","y":"a"}"#, &twice),
        ("{m: {x: 1, y: 1}, m: {x: 2}}", r#"{"m":{"x":1,"y":1}}"#, r#"{"m":{"x":2,"y":1}}"#, &twice),
    ] {
        let text = format!("{anchors}it: {own}\n");
        let (value, codes) = read(&text, Repeats::Refused);
        let is_error = own.contains("x: 1, x") || own.contains("m: ");
        assert_eq!((value.as_str(), codes.len()), (refused, usize::from(is_error)), "{own}");
        let (value, codes) = read(&text, Repeats::LastCounts);
        assert_eq!((value.as_str(), codes.as_slice()), (last_counts, told), "{own}");
    }
}

/// Compares the line, column and message of each finding, and its help.
#[track_caller]
fn check_told(text: &str, expected: &[(u32, u32, &str, &str)]) {
    let report = report(text, None);
    let told: Vec<(u32, u32, &str, &str)> = report
        .diagnostics
        .iter()
        .map(|found| {
            let place = &found.location;
            (place.line, place.column, found.message.as_str(), found.help.as_deref().unwrap_or_default())
        })
        .collect();
    assert_eq!(told, expected, "{text}");
}

#[test]
fn a_colon_within_a_text_is_told_with_its_column() {
    let shelf = "put the shelve in quotes, or write it on the lines below `- |`";
    let item = "an item of `shelves` takes text, not a mapping: the `:` here makes one";
    check_told("shelves:\n- top: hot\n", &[(2, 6, item, shelf)]);
    check_told("shelves:\n- caf\u{e9} \"a: b\"\n", &[(2, 10, item, shelf)]);
    check_told("shelves:\n- done:\n", &[(2, 7, item, shelf)]);
    check_told("shelves: [{a: b}]\n", &[(1, 11, "an item of `shelves` takes text, not a mapping", "")]);
    let fuel = "put the fuel in quotes, or write it on the lines below `fuel: |`";
    check_told("fuel: gas: hot\n", &[(1, 10, "a `:` is in a place where no key is possible", fuel)]);
}

#[test]
fn what_stands_beside_the_key_that_it_belongs_below_is_one_finding() {
    let timer = "`timer` is empty, and `minutes` and `bell` stand beside it";
    check_told("timer:\nminutes: 5\nbell: x\nfuel: gas\n", &[(1, 1, timer, "indent the lines below `timer:`")]);
    let door = "`door` is empty, and `handle` stands beside it";
    check_told("door:\nhandle: x\n", &[(1, 1, door, "indent the lines below `door:`")]);
    // A misspelt key is reported as one, whatever is above it.
    check_told("door:\nfule: gas\n", &[(2, 1, "unknown key `fule` in an oven", "did you mean `fuel`?")]);
    check_told("timer:\n", &[]);
}

#[test]
fn characters_that_look_like_others_are_named() {
    let space = "a no-break space (U+00A0) is in this place, and YAML does not treat it as a space";
    let write = "write a space in its place";
    check_told("fuel: gas\n\u{a0}shelves: [a]\n", &[(2, 1, space, write)]);
    check_told("fuel:\u{a0}gas\nshelves: [a]\n", &[(1, 6, space, write)]);
    check_told("fuel: gas\u{a0}\n", &[(1, 10, space, write)]);
    check_told("shelves:\n-\u{a0}a: b\n", &[(2, 2, space, write)]);
    check_told("timer:\n\u{a0}minutes: 5\n\u{a0}bell: x\n", &[(2, 1, &format!("{space} (also in line 3)"), write)]);
    let hidden = "a space without width (U+200B) is in this place, and is invisible";
    check_told("fu\u{200b}el: gas\n", &[(1, 3, hidden, "remove it")]);
    let quote = "a typographic quote (U+201C) is in this place, and YAML does not treat it as `\"`";
    check_told("\u{201c}fuel\u{201d}: gas\n", &[(1, 1, quote, "write `\"` in its place")]);
    check_told("fuel: \u{201c}gas\u{201d}\n", &[(1, 7, quote, "write `\"` in its place")]);
    let dash = "a typographic dash (U+2013) is in this place, and YAML does not treat it as `-`";
    check_told("shelves:\n\u{2013} a: b\n", &[(2, 1, dash, "write `-` in its place")]);
    // Within a text they are ordinary characters, and a byte order mark may begin a file.
    check_told("shelves: [\"caf\u{e9}\u{a0}\u{201c}x\u{201d}\"]\n", &[]);
    check_told("\u{feff}fuel: gas\n", &[]);
    let known = "known here: shelves, door, timer, fan, colour";
    check_told("fuel: gas # \u{201c}x\u{201d}\nhandle: x\n", &[(2, 1, "unknown key `handle` in an oven", known)]);
}

#[test]
fn a_text_that_loses_its_beginning_to_a_tag_is_warned_about() {
    let lost = "YAML reads `!` as a tag, not as part of the text";
    check_told("shelves:\n- ! grep x\n- !!str 5\n", &[(2, 5, lost, "put the whole text in quotes")]);
}
