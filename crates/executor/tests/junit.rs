//! Reports of many writers, read for their counts.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

use std::path::PathBuf;
use std::sync::Arc;

use kiln_executor::junit::{self, JunitError};
use kiln_executor::tally::is_broken;
use kiln_mask::Secrets;
use kiln_wire::run::Tests;

fn read(xml: &[u8]) -> Result<Tests, JunitError> {
    junit::read(xml, &Arc::default())
}

fn check(xml: &str, expect: &str) {
    let got = match read(xml.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(tests) => shown(&tests),
    };
    assert_eq!(got, expect, "{xml}");
}

fn shown(tests: &Tests) -> String {
    let Tests { total, passed, failed, errors, skipped, cases, .. } = tests;
    let mut text = format!("{total} = {passed}+{failed}+{errors}+{skipped}");
    for case in cases.iter().filter(|case| is_broken(case.result)) {
        text.push_str(&format!("\n{}|{}|{}", case.class, case.name, case.message));
    }
    text
}

#[test]
fn cases_count_wherever_they_stand() {
    check("<testsuite><testcase name='a'/></testsuite>", "1 = 1+0+0+0");
    check(
        "<testsuites><testsuite><testsuite><testcase/></testsuite><testcase/></testsuite></testsuites>",
        "2 = 2+0+0+0",
    );
    check(
        "<testsuite tests='9'><testcase classname='C' name='a'><failure message='m'>m\nat x</failure></testcase>\
         <testcase name='s'><skipped/></testcase><testcase name='e' file='f.py'><error>boom</error></testcase></testsuite>",
        "3 = 0+1+1+1\nC|a|m\nat x\nf.py|e|boom",
    );
    check(
        "<testsuite><testcase name='a'><failure><![CDATA[<b> & c]]></failure></testcase></testsuite>",
        "1 = 0+1+0+0\n|a|<b> & c",
    );
    check(
        "<testsuite><testcase name='a'><failure>expected &lt;5&gt; &amp; got&#10;&#55; &nbsp;</failure></testcase></testsuite>",
        "1 = 0+1+0+0\n|a|expected <5> & got\n7 &nbsp;",
    );
    check("<testsuite/>", "0 = 0+0+0+0");
}

#[test]
fn each_case_tells_how_it_ended_and_how_long_it_took() {
    let xml = "<testsuite><testcase classname='C' name='a' time='0.25'/><testcase name='b' time='1,234.5'><skipped>no display</skipped>\
        </testcase><testcase name='c' time='0,5'><error/></testcase><testcase name='d' time='-1'/><testcase time='soon'/>\
        <testcase time='1e300'><failure message='m'/></testcase></testsuite>";
    let told: Vec<String> = read(xml.as_bytes())
        .unwrap()
        .cases
        .iter()
        .map(|case| {
            let ms = case.duration.map(|duration| duration.as_millis());
            format!("{}.{} {:?} {ms:?} {}", case.class, case.name, case.result, case.message).trim_end().to_owned()
        })
        .collect();
    assert_eq!(
        told,
        [
            "C.a Passed Some(250)",
            ".b Skipped Some(1234500) no display",
            ".c Error Some(500)",
            ".d Passed None",
            ". Passed None",
            ". Failed None m",
        ]
    );
}

#[test]
fn another_encoding_is_counted_all_the_same() {
    let xml = b"<testsuite><testcase name='\xfc'><failure message='\xe4'/></testcase></testsuite>";
    assert_eq!(shown(&read(xml).unwrap()), "1 = 0+1+0+0\n|\u{fffd}|\u{fffd}");
    let xml = b"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='caf\xe9'><failure/></testcase></testsuite>";
    assert_eq!(shown(&read(xml).unwrap()), "1 = 0+1+0+0\n|caf\u{e9}|");
    let text = "\u{feff}<?xml version='1.0' encoding='UTF-16'?><testsuite><testcase name='caf\u{e9}'><failure/></testcase></testsuite>";
    let xml: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(shown(&read(&xml).unwrap()), "1 = 0+1+0+0\n|caf\u{e9}|");
}

#[test]
fn what_is_no_report_is_told() {
    check("<html></html>", "the report has no <testsuite> element");
    check("", "the report has no <testsuite> element");
    check("<testsuite><testcase></testsuite>", "the report is not well-formed XML at byte 21");
}

#[test]
fn a_hostile_report_stays_small() {
    let case = format!("<testcase name='n'><failure>{}</failure></testcase>", "x".repeat(10_000));
    let tests = read(format!("<testsuite>{}</testsuite>", case.repeat(1000)).as_bytes()).unwrap();
    assert_eq!((tests.total, tests.failed, tests.cases.len(), tests.cases_left_out), (1000, 1000, 200, 800));
    assert!(tests.cases.iter().all(|f| f.message.len() <= 2000));
    let deep = "<testsuite>".repeat(100_000);
    assert!(read(deep.as_bytes()).is_ok_and(|tests| tests.total == 0));
}

/// Reports of other projects, where they are: each is read, and its counts are those of a plain
/// count of its elements.
#[test]
fn reports_of_other_projects_are_read() {
    let Some(dir) = kiln_corpus::folder("junit") else { return };
    let entries = std::fs::read_dir(&dir).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let xml = std::fs::read_to_string(&file).unwrap();
        let tests = read(xml.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let count = |tag: &str| {
            xml.matches(&format!("<{tag} ")).count()
                + xml.matches(&format!("<{tag}>")).count()
                + xml.matches(&format!("<{tag}/>")).count()
        };
        assert_eq!(tests.total as usize, count("testcase"), "{}", file.display());
        assert_eq!(tests.total, tests.passed + tests.failed + tests.errors + tests.skipped, "{}", file.display());
        let broken = count("failure").min(1) + count("error").min(1);
        assert_eq!(tests.failed + tests.errors > 0, broken > 0, "{}", file.display());
    }
}

#[test]
fn a_secret_is_masked_in_names_and_messages_before_they_are_cut() {
    let secrets = Arc::<Secrets>::default();
    secrets.add(["s3cret&word"]);
    let (before_name, before_text, before_attribute) = ("n".repeat(495), "t".repeat(1980), "t".repeat(1995));
    let secret = "s3cret&amp;word";
    let xml = format!(
        "<testsuite><testcase classname='{secret}' name='{before_name}{secret}'><failure message='a {secret}'>{before_text}{secret}\
         </failure></testcase><testcase name='b'><error message='{before_attribute}{secret}'/></testcase></testsuite>"
    );
    let tests = junit::read(xml.as_bytes(), &secrets).unwrap();
    let mask = "**************";
    assert_eq!(tests.cases[0].class, mask);
    assert_eq!(tests.cases[0].name, format!("{before_name}*****"));
    assert!(tests.cases[0].message.starts_with(&format!("a {mask}\n{before_text}")), "{}", tests.cases[0].message);
    assert!(!format!("{tests:?}").contains("s3"), "{tests:?}");
}
