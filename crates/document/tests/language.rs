//! A small language of its own: text to tree to findings to report.

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
        Key::unsupported("fan", "there is no current"),
        Key::no_effect("colour", Shape::Text, "it is dark inside"),
    ],
);

fn report(text: &str, expression_marker: Option<&'static str>) -> Report {
    let mut findings = Findings::new(false);
    let documents = yaml::parse(text.as_bytes(), &mut findings);
    let language = Language { expression_marker, ignores_unknown: false, tables: &[&OVEN] };
    for document in &documents {
        check(document, &Shape::Of(&OVEN), language, &mut findings);
    }
    Report { file: "oven.yml".to_owned(), source: text.to_owned(), diagnostics: findings.into_sorted() }
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

/// Each reading of a mapping whose keys repeat, as JSON, with the codes of what is told.
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
