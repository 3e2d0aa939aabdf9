//! TRX reports, as Visual Studio and `dotnet test` write them.

mod rig;

use kiln_wire::run::TestResult;
use rig::{check, read, shown};

const REPORT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<TestRun id="r" name="n" xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010">
  <Results>
    <UnitTestResult testId="1" testName="Calc.AdderTests.Adds(a: 1)" duration="00:00:00.2500000" outcome="Passed" />
    <UnitTestResult testId="2" testName="Subtracts" duration="00:00:01.5" outcome="Failed">
      <Output>
        <StdOut>noise</StdOut>
        <ErrorInfo><Message>Assert.Equal() Failure &lt;5&gt;</Message><StackTrace>at Calc.AdderTests.Subtracts()</StackTrace></ErrorInfo>
      </Output>
    </UnitTestResult>
    <UnitTestResult testId="3" testName="Later" outcome="NotExecuted"><Output><ErrorInfo><Message>not now</Message></ErrorInfo></Output></UnitTestResult>
    <UnitTestResult testId="4" testName="Slow" duration="00:01:00" outcome="Timeout" />
    <UnitTestResult testId="5" testName="Rows" outcome="Failed" resultType="DataDrivenTest">
      <InnerResults>
        <UnitTestResult testId="5" testName="Rows (0)" outcome="Passed" resultType="DataDrivenDataRow" />
        <UnitTestResult testId="5" testName="Rows (1)" outcome="Failed" resultType="DataDrivenDataRow" />
      </InnerResults>
    </UnitTestResult>
    <UnitTestResult testId="6" testName="Odd" />
  </Results>
  <TestDefinitions>
    <UnitTest name="Calc.AdderTests.Adds(a: 1)" id="1"><Execution id="e"/><TestMethod codeBase="c.dll" className="Calc.AdderTests" name="Adds" /></UnitTest>
    <UnitTest name="Subtracts" id="2"><TestMethod className="Calc.AdderTests, Calc, Version=1.0.0.0" name="Subtracts" /></UnitTest>
    <UnitTest name="Rows" id="5"><TestMethod className="Calc.RowTests" name="Rows" /></UnitTest>
  </TestDefinitions>
  <ResultSummary outcome="Failed">
    <Counters total="7" executed="6" passed="2" failed="2" />
    <RunInfos>
      <RunInfo computerName="c" outcome="Warning"><Text>careful</Text></RunInfo>
      <RunInfo computerName="c" outcome="Error"><Text>Test host process crashed</Text></RunInfo>
    </RunInfos>
  </ResultSummary>
</TestRun>"#;

#[test]
fn each_result_is_a_case_of_its_class() {
    let tests = read(REPORT.as_bytes());
    assert_eq!(
        shown(&tests),
        "7 = 2+2+2+1\n\
         Calc.AdderTests|Subtracts|Assert.Equal() Failure <5>\nat Calc.AdderTests.Subtracts()\n\
         |Slow|\n\
         Calc.RowTests|Rows (1)|\n\
         |Odd|the report does not say how it ended\n\
         ! x.xml:30: the run of the tests failed outside of its cases: Test host process crashed"
    );
    let first = &tests.cases[0];
    assert_eq!((first.class.as_str(), first.name.as_str()), ("Calc.AdderTests", "Adds(a: 1)"));
    assert_eq!(first.duration.unwrap_or_default().as_millis(), 250);
    assert_eq!((tests.cases[2].result, tests.cases[2].message.as_str()), (TestResult::Skipped, "not now"));
    assert_eq!(tests.duration.as_millis(), 61_750);
}

#[test]
fn a_report_that_was_cut_counts_what_is_whole() {
    let (head, _) = REPORT.split_once("<TestDefinitions>").expect("definitions");
    check(
        head,
        "7 = 2+2+2+1\n|Subtracts|Assert.Equal() Failure <5>\nat Calc.AdderTests.Subtracts()\n|Slow|\n|Rows (1)|\n|Odd|the report does \
         not say how it ended\n! x.xml:2: the report ends within <TestRun>, as if its writer had been ended before it was done; the 7 \
         tests before that are counted",
    );
}

#[test]
fn a_test_that_ran_again_is_flaky() {
    let result = |outcome: &str| format!("<UnitTestResult testId='1' testName='T' outcome='{outcome}'/>");
    let report = format!("<TestRun><Results>{}{}</Results></TestRun>", result("Failed"), result("Passed"));
    assert_eq!(read(report.as_bytes()).flaky, 1);
}

/// A report of any size takes bounded memory: cases without room are still counted.
#[test]
fn what_is_too_much_to_hold_is_counted_without_its_class() {
    let message = "m".repeat(1900);
    let one = |n: u32| {
        format!(
            "<UnitTestResult testId='{n}' testName='T' outcome='Failed'><Output><ErrorInfo><Message>{message}</Message></ErrorInfo></Output></UnitTestResult>"
        )
    };
    let results: String = (0..31_000).map(one).collect();
    let report = format!(
        "<TestRun><Results>{results}</Results><TestDefinitions><UnitTest id='0'><TestMethod className='C'/></UnitTest></TestDefinitions></TestRun>"
    );
    assert!(report.len() < 64 << 20);
    let tests = read(report.as_bytes());
    assert_eq!((tests.total, tests.failed, tests.problems.len()), (31_000, 31_000, 0));
}
