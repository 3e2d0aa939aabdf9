//! Time and memory of reading reports with 100,000 tests, and of splitting as many names.
//!
//! `cargo bench -p kiln-test-report` prints a table. Memory is the peak resident size of the process minus its size
//! before.
#![allow(clippy::unwrap_used)] // a benchmark that cannot go on says so by panicking

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_test_report::split::{By, Times, split};
use kiln_test_report::{Collector, Failed};
use kiln_wire::run::Tests;

const TESTS: usize = 100_000;

fn main() {
    let folder = std::env::temp_dir().join(format!("kiln-reports-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    println!("{TESTS} tests\n");
    println!("| what | MiB | time | tests per second | memory above the start |\n|---|---:|---:|---:|---:|");
    let output = "z".repeat(500);
    let message = "expected &lt;5&gt;, got &lt;6&gt; ".repeat(10);
    junit(&folder, "JUnit, all pass", |n| format!("<testcase classname='a.b.C{}' name='t{n}' time='0.0{n}'/>", n / 50));
    junit(&folder, "JUnit, with output", |n| {
        format!(
            "<testcase classname='a.b.C{}' name='t{n}'><system-out><![CDATA[{output}]]></system-out></testcase>",
            n / 50
        )
    });
    junit(&folder, "JUnit, all fail", |n| {
        format!("<testcase classname='C' name='t{n}'><failure message='m{n}'>{message}</failure></testcase>")
    });
    trx(&folder);
    by_time();
    std::fs::remove_dir_all(&folder).unwrap();
}

fn junit(folder: &Path, what: &str, case: impl Fn(usize) -> String) {
    let path = folder.join("report.xml");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "<?xml version='1.0' encoding='UTF-8'?>\n<testsuites><testsuite name='s'>").unwrap();
    (0..TESTS).for_each(|n| writeln!(file, "{}", case(n)).unwrap());
    writeln!(file, "</testsuite></testsuites>").unwrap();
    file.into_inner().unwrap();
    measured(what, &path);
}

fn trx(folder: &Path) {
    let path = folder.join("report.trx");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "<TestRun><Results>").unwrap();
    for n in 0..TESTS {
        let rest = "duration='00:00:00.0100000' outcome='Passed'";
        writeln!(file, "<UnitTestResult testId='{n:036}' testName='a.b.C{}.t{n}' {rest}/>", n / 50).unwrap();
    }
    writeln!(file, "</Results><TestDefinitions>").unwrap();
    for n in 0..TESTS {
        let method = format!("<TestMethod className='a.b.C{}' name='t{n}'/>", n / 50);
        writeln!(file, "<UnitTest name='t{n}' id='{n:036}'>{method}</UnitTest>").unwrap();
    }
    writeln!(file, "</TestDefinitions></TestRun>").unwrap();
    file.into_inner().unwrap();
    measured("TRX, all pass", &path);
}

fn measured(what: &str, path: &Path) {
    let size = path.metadata().unwrap().len();
    let before = forget_peak_kib();
    let since = Instant::now();
    let tests = read(path);
    let time = since.elapsed();
    let memory = peak_kib().saturating_sub(before);
    assert_eq!((tests.total, tests.problems.len()), (TESTS as u64, 0));
    row(what, size, time, memory);
}

fn read(path: &Path) -> Tests {
    let (secrets, earlier) = (Arc::<kiln_mask::Secrets>::default(), Failed::default());
    secrets.add(["s3cret-word", "an0ther&secret"]);
    let mut collector = Collector::new(&secrets, &earlier);
    collector.report("report", File::open(path).unwrap(), drop);
    collector.finish().0
}

fn by_time() {
    let names: Vec<String> = (0..TESTS).map(|n| format!("a.b.C{}.t{n}", n / 50)).collect();
    let before = forget_peak_kib();
    let since = Instant::now();
    let split = split(&names, By::Time, &Times::default(), 8);
    let time = since.elapsed();
    assert_eq!(split.shares.len(), 8);
    row("split into 8 shares", 0, time, peak_kib().saturating_sub(before));
}

fn row(what: &str, bytes: u64, time: Duration, memory_kib: u64) {
    let rate = TESTS as f64 / time.as_secs_f64();
    let (size, memory) = (bytes as f64 / f64::from(1 << 20), memory_kib as f64 / 1024.0);
    println!("| {what} | {size:.1} | {:.0} ms | {rate:.0} | {memory:.1} MiB |", time.as_secs_f64() * 1000.0);
}

/// Resets the kernel's peak size of this process, and returns the present size.
fn forget_peak_kib() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak_kib()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
