//! Reports as people see them.

mod rig;

use std::sync::Arc;

use kiln_test_report::show::{markdown, text};
use kiln_test_report::{Collector, Failed};
use kiln_wire::run::Tests;
use rig::read;

const REPORT: &str = "<testsuite>\
    <testcase classname='C' name='evil &#10;[s/globs] \u{2717} failed&#13;x &#27;[31m|`a`&lt;b&gt;' time='3'><failure message='m&#10;&#10;n ``` &#27;[31mred'/></testcase>\
    <testcase name='' time='0.2'><error/></testcase>\
    <testcase name='wobbly'><flakyFailure message='once'/></testcase>\
    <testcase name='quick' time='0.01'/></testsuite>";

fn tests() -> Tests {
    let (secrets, earlier) = (Arc::default(), Failed::default());
    let mut collector = Collector::new(&secrets, &earlier);
    collector.report("out/a.xml", REPORT.as_bytes(), drop);
    collector.report("out/b\n.xml", &b"<html/>"[..], drop);
    collector.finish().0
}

#[test]
fn a_terminal_shows_one_line_for_each_name() {
    let plain = anstream::adapter::strip_str(&text(&tests())).to_string();
    let expect = "  4 tests: 2 passed, 1 failed, 1 error, 1 flaky in 3.2 s
    ✗ C: evil  [s/globs] ✗ failed x |`a`<b>
        m
        n ``` red
    ✗ (no name)
    ~ wobbly (flaky: it failed, then passed)
        once
    slowest:
             3.0 s  C: evil  [s/globs] ✗ failed x |`a`<b>
             0.2 s  (no name)
    ! out/b .xml:1: this is no test report: its outermost element is <html>; a JUnit report has <testsuites> or <testsuite> there, a TRX \
                  report <TestRun>
";
    assert_eq!(plain, expect);
    assert!(!text(&tests()).contains("\u{1b}[31mred"));
}

#[test]
fn markdown_means_what_the_names_say() {
    let expect = "| Tests | Passed | Failed | Errors | Skipped | Flaky | Time |
|---:|---:|---:|---:|---:|---:|---:|
| 4 | 2 | 1 | 1 | 0 | 1 | 3.2 s |

#### Failed

- <details><summary>C: evil  &#91;s/globs&#93; ✗ failed x &#124;&#96;a&#96;&lt;b&gt;</summary>

  ````text
  m
  
  n ``` red
  ````

  </details>
- (no name)

#### Flaky: failed, then passed

- <details><summary>wobbly</summary>

  ```text
  once
  ```

  </details>

#### Slowest

| Time | Test |
|---:|---|
| 3.0 s | C: evil  &#91;s/globs&#93; ✗ failed x &#124;&#96;a&#96;&lt;b&gt; |
| 0.2 s | (no name) |

#### Problems with the reports

- out/b .xml:1: this is no test report: its outermost element is &lt;html&gt;; a JUnit report has &lt;testsuites&gt; or &lt;testsuite&gt; \
there, a TRX report &lt;TestRun&gt;
";
    assert_eq!(markdown(&tests()), expect);
}

#[test]
fn what_is_shown_is_bounded() {
    let case = format!("<testcase name='{}'><failure>{}</failure></testcase>", "|".repeat(600), "`".repeat(3000));
    let tests = read(format!("<testsuite>{}</testsuite>", case.repeat(300)).as_bytes());
    assert_eq!(tests.failed, 300);
    let (markdown, text) = (markdown(&tests), text(&tests));
    assert!(markdown.contains("- and 250 more") && markdown.len() < 900_000, "{}", markdown.len());
    assert!(text.contains("and 280 more failed") && text.len() < 100_000, "{}", text.len());
}
