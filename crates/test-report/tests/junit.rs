//! Reports of many writers, read for their counts.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod rig;

use std::sync::Arc;

use kiln_mask::Secrets;
use kiln_wire::run::TestResult;
use rig::{check, read, read_with, shown};

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
    assert_eq!(shown(&read(xml)), "1 = 0+1+0+0\n|\u{fffd}|\u{fffd}");
    let xml = b"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='caf\xe9'><failure/></testcase></testsuite>";
    assert_eq!(shown(&read(xml)), "1 = 0+1+0+0\n|caf\u{e9}|");
    let text = "\u{feff}<?xml version='1.0' encoding='UTF-16'?><testsuite><testcase name='caf\u{e9}'><failure/></testcase></testsuite>";
    let xml: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(shown(&read(&xml)), "1 = 0+1+0+0\n|caf\u{e9}|");
}

#[test]
fn a_hostile_report_stays_small() {
    let case = format!("<testcase name='n'><failure>{}</failure></testcase>", "x".repeat(10_000));
    let tests = read(format!("<testsuite>{}</testsuite>", case.repeat(1000)).as_bytes());
    assert_eq!((tests.total, tests.failed, tests.cases.len(), tests.cases_left_out), (1000, 1000, 200, 800));
    assert!(tests.cases.iter().all(|f| f.message.chars().count() <= 2000));
    // Each reference is a piece of its own, and most of them are beyond the end of the message.
    let pieces = format!("<testsuite><testcase><failure>{}</failure></testcase></testsuite>", "&lt;".repeat(1 << 20));
    assert_eq!(read(pieces.as_bytes()).cases[0].message.chars().count(), 2000);
    let wide = format!("<testsuite><testcase {}name='last'/></testsuite>", "a='b' ".repeat(300_000));
    assert_eq!(shown(&read(wide.as_bytes())), "1 = 1+0+0+0");
}

/// Every available report of other projects is read, and its counts equal a plain count of its elements.
#[test]
fn reports_of_other_projects_are_read() {
    let Some(dir) = kiln_corpus::folder("junit") else { return };
    let entries = std::fs::read_dir(&dir).unwrap();
    let mut files: Vec<std::path::PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let xml = std::fs::read_to_string(&file).unwrap();
        let tests = read(xml.as_bytes());
        assert_eq!(tests.problems, [], "{}", file.display());
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
    let tests = read_with(xml.as_bytes(), &secrets);
    let mask = "**************";
    assert_eq!(tests.cases[0].class, mask);
    assert_eq!(tests.cases[0].name, format!("{before_name}*****…"));
    assert!(tests.cases[0].message.starts_with(&format!("a {mask}\n{before_text}")), "{}", tests.cases[0].message);
    assert!(!format!("{tests:?}").contains("s3"), "{tests:?}");
}

/// Every text of a report may hold a secret, in every notation of XML.
#[test]
fn a_secret_of_markup_is_masked_wherever_it_stands() {
    let secrets = Arc::<Secrets>::default();
    secrets.add(["<5>&pass", "two\nlines"]);
    for secret in ["&lt;5&gt;&amp;pass", "&#60;5&#x3e;&#38;pass", "&lt;<![CDATA[5>]]>&amp;p<!-- -->ass"] {
        let xml = format!("<testsuite><testcase><failure>a {secret} b</failure></testcase></testsuite>");
        let tests = read_with(xml.as_bytes(), &secrets);
        assert_eq!(tests.cases[0].message, "a ************** b", "{xml}");
    }
    // An unknown reference does not keep the others of its attribute from being decoded.
    for (attribute, expect) in [
        ("a &lt;5&gt;&amp;pass &nbsp; b", "a ************** &nbsp; b"),
        ("a &#60;5&#x3e;&#38;pass &nbsp; b", "a ************** &nbsp; b"),
        ("two\nlines", "**************"),
        ("two&#10;lines", "**************"),
    ] {
        for element in ["testcase name", "testcase classname", "testcase file"] {
            let xml = format!("<testsuite><{element}='{attribute}'/></testsuite>");
            let tests = read_with(xml.as_bytes(), &secrets);
            let case = &tests.cases[0];
            let text = [&case.name, &case.class, &case.file].into_iter().find(|text| !text.is_empty()).unwrap();
            assert_eq!(text, expect, "{xml}");
        }
        let xml = format!(
            "<testsuite name='{attribute}'><error message='{attribute}'/><testcase><skipped message='{attribute}'/></testcase></testsuite>"
        );
        let tests = read_with(xml.as_bytes(), &secrets);
        assert_eq!(tests.cases[0].message, expect);
        assert_eq!(tests.problems[0].message, format!("the suite {expect} failed outside of its cases: {expect}"));
    }
}

#[test]
fn a_case_that_failed_before_it_passed_is_flaky() {
    // Surefire and nextest write this.
    let xml = "<testsuite><testcase classname='C' name='t'><flakyFailure message='m' type='T'><stackTrace><![CDATA[at x]]></stackTrace>\
        <system-out>noise</system-out></flakyFailure></testcase>\
        <testcase classname='C' name='u'><failure message='f'/><rerunFailure message='again'/></testcase>\
        <testcase classname='C' name='v'><flakyError/><failure/></testcase></testsuite>";
    let tests = read(xml.as_bytes());
    assert_eq!((tests.total, tests.passed, tests.failed, tests.flaky), (3, 1, 2, 1));
    assert!(tests.cases[0].flaky && tests.cases[0].result == TestResult::Passed);
    assert_eq!(tests.cases[0].message, "m\nat x");
    assert_eq!(tests.cases[1].message, "f");
    // Gradle and others write this: once for each attempt.
    let again = "<testsuite><testcase classname='C' name='t'><failure/></testcase><testcase classname='C' name='t'/>\
        <testcase classname='D' name='t'/><testcase classname='C' name='t'/></testsuite>";
    let tests = read(again.as_bytes());
    assert_eq!((tests.passed, tests.failed, tests.flaky), (3, 1, 2));
    // A pass before a failure is not flaky.
    let before = "<testsuite><testcase name='t'/><testcase name='t'><failure/></testcase></testsuite>";
    assert_eq!(read(before.as_bytes()).flaky, 0);
}

#[test]
fn what_failed_outside_of_the_cases_is_told() {
    let xml = "<testsuites>\n<testsuite name='S'>\n<error message='no database'>at setup</error><testcase name='a'/></testsuite></testsuites>";
    check(xml, "1 = 1+0+0+0\n! x.xml:3: the suite S failed outside of its cases: no database\nat setup");
    // These texts look like verdicts and are none.
    check(
        "<testsuite><properties><failure/></properties><testcase><system-out><failure/></system-out></testcase></testsuite>",
        "1 = 1+0+0+0",
    );
}

#[test]
fn the_worst_that_is_said_of_a_case_counts() {
    check(
        "<testsuite><testcase name='a'><failure message='f'/><skipped message='s'/></testcase>\
         <testcase name='b'><failure message='f'/><error message='e'/></testcase></testsuite>",
        "2 = 0+1+1+0\n|a|f\ns\n|b|f\ne",
    );
    check("<testsuite><testcase name='a' status='notrun'/><testcase status='run'/></testsuite>", "2 = 1+0+0+1");
    check("<testsuite><testcase name='a'><testcase name='b'/></testcase></testsuite>", "2 = 2+0+0+0");
    check(
        "<testsuite><testcase name='a'><failure type='AssertionError'/></testcase></testsuite>",
        "1 = 0+1+0+0\n|a|AssertionError",
    );
}

#[test]
fn the_file_of_a_case_is_its_own_or_its_suites() {
    let xml = "<testsuite file='s.py'><testcase name='a'/><testcase name='b' file='own.py'/></testsuite>";
    let files: Vec<String> = read(xml.as_bytes()).cases.into_iter().map(|case| case.file).collect();
    assert_eq!(files, ["s.py", "own.py"]);
}
