//! Reports that cannot be read completely: the messages, and the cases that still count.

mod rig;

use rig::{check, read, shown};

const NONE: &str = "0 = 0+0+0+0";

#[test]
fn what_is_no_report_is_told() {
    check("", "0 = 0+0+0+0\n! x.xml: the report is empty");
    check(" \n", "0 = 0+0+0+0\n! x.xml:1: the report has no element: it is no XML");
    check("hi", "0 = 0+0+0+0\n! x.xml:1: the report has no element: it is no XML");
    check(
        "<?xml version='1.0'?>\n<!-- c -->\n<html></html>",
        "0 = 0+0+0+0\n! x.xml:3: this is no test report: its outermost element is <html>; a JUnit report has <testsuites> or <testsuite> \
         there, a TRX report <TestRun>",
    );
    let others = [
        ("test-run", "--logger trx"),
        ("assemblies", "-junit"),
        ("testng-results", "junitreports"),
        ("coverage", "of coverage"),
    ];
    for (element, advice) in others {
        let told = shown(&read(format!("<{element}/>").as_bytes()));
        assert!(told.contains(advice), "{told}");
    }
}

#[test]
fn a_report_that_was_cut_says_where_and_counts_what_is_whole() {
    check(
        "<testsuite>\n<testcase name='a'/>\n<testcase name='b'><failure message='half",
        "1 = 1+0+0+0\n! x.xml:3: the report ends within a tag, as if its writer had been ended before it was done; the test before that \
         is counted",
    );
    check(
        "<testsuite>\n<testcase name='a'/><testcase name='b'/>\n<testcase name='c'><failure>half",
        "2 = 2+0+0+0\n! x.xml:3: the report ends within <failure>, as if its writer had been ended before it was done; the 2 tests before \
         that are counted",
    );
    for (begin, within) in [
        ("<![CDATA[ a]]", "`<![CDATA[`"),
        ("<!-- a --", "`<!--`"),
        ("<? a ?", "`<?`"),
        // The last character has several bytes.
        ("<![CDATA[ €", "`<![CDATA[`"),
        ("<!--😀", "`<!--`"),
        ("<?ä", "`<?`"),
    ] {
        check(
            &format!("<testsuite>{begin}"),
            &format!(
                "{NONE}\n! x.xml:1: the report ends within {within}, as if its writer had been ended before it was done"
            ),
        );
    }
}

#[test]
fn markup_in_text_is_told_with_both_places() {
    check(
        "<testsuite>\n<testcase name='t'/>\n<system-out>said <b>bold</b> & <br> done\n</system-out></testsuite>",
        "1 = 1+0+0+0\n! x.xml:4: the report is not well-formed XML: </system-out> stands where <br> of line 3 has to end first; a `<` in \
         text has to be written `&lt;`; the test before that is counted",
    );
    check(
        "<testsuite></testsuite></testsuite>",
        "0 = 0+0+0+0\n! x.xml:1: the report is not well-formed XML: </testsuite> ends an element that did not begin",
    );
    let long = "n".repeat(1000);
    let told = shown(&read(format!("<testsuite><{long}></testsuite>").as_bytes()));
    assert!(told.contains(&format!("<{}…>", "n".repeat(80))) && told.len() < 400, "{told}");
}

#[test]
fn each_limit_is_told() {
    let deep = shown(&read("<testsuite>".repeat(100_000).as_bytes()));
    assert_eq!(
        deep,
        format!(
            "{NONE}\n! x.xml:1: more than 1000 elements stand in each other, and the rest of the report is not read"
        )
    );
    let fine = format!("{}{}", "<testsuite>".repeat(1000), "</testsuite>".repeat(1000));
    check(&fine, NONE);
    let tag = format!("<testsuite>\n<testcase/><testcase name='{}'/></testsuite>", "n".repeat(5 << 20));
    assert_eq!(
        shown(&read(tag.as_bytes())),
        "1 = 1+0+0+0\n! x.xml:2: the tag that begins here has more than 4 MiB of attributes, and the rest of the report is not read; the \
         test before that is counted"
    );
    let large = format!("<testsuite><testcase/><system-out>{}", "o".repeat(65 << 20));
    assert_eq!(
        shown(&read(large.as_bytes())),
        "1 = 1+0+0+0\n! x.xml: the report has more than 64 MiB, and the rest is not read; the test before that is counted"
    );
    let many = format!("<testsuite>{}</testsuite>", "<testcase/>".repeat(1_000_001));
    let tests = read(many.as_bytes());
    assert_eq!((tests.total, tests.cases.len()), (1_000_000, 1000));
    assert_eq!(
        tests.problems[0].message,
        "the report has more than 1000000 test cases, and the rest of it is not read; the 1000000 tests before that are counted"
    );
}

#[test]
fn a_secret_in_what_is_wrong_is_masked_before_it_is_cut() {
    let secrets = std::sync::Arc::<kiln_mask::Secrets>::default();
    secrets.add(["s3cretword"]);
    let name = format!("{}s3cretword", "n".repeat(75));
    let tests = rig::read_with(format!("<{name}/>").as_bytes(), &secrets);
    assert!(!tests.problems[0].message.contains("s3"), "{:?}", tests.problems);
}
