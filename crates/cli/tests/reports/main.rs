//! `kiln tests`: results of reports, and shares of tests.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const REPORT: &str = "<testsuite><testcase classname='p.A' name='a' time='9'/><testcase classname='p.A' name='b' time='1'/>\
    <testcase classname='p.B' name='a' time='6'/><testcase classname='p.C' name='a' time='5'/></testsuite>";

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `kiln tests` in a folder, with a text as its standard input.
fn kiln(folder: &Path, words: &[&str], input: &str, env: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command
        .arg("tests")
        .args(words)
        .current_dir(folder)
        .env_remove("HARNESS_NODE_INDEX")
        .env_remove("HARNESS_NODE_TOTAL");
    command.envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kiln starts");
    // A program that refuses its arguments reads nothing.
    drop(child.stdin.take().expect("an input").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("kiln ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

#[test]
fn reports_are_shown_for_people_and_programs() {
    let bad = "<testsuite>\n<testcase classname='C' name='t'><failure message='no'/></testcase>";
    let folder = folder(&[("out/a.xml", REPORT), ("out/b.xml", bad)]);
    let text = kiln(folder.path(), &["show", "out/**"], "", &[]);
    assert_eq!(text.code, Some(1));
    let expect = "  5 tests: 4 passed, 1 failed in 21.0 s
    ✗ C: t
        no
    slowest:
             9.0 s  p.A: a
             6.0 s  p.B: a
             5.0 s  p.C: a
             1.0 s  p.A: b
    ! out/b.xml:1: the report ends within <testsuite>, as if its writer had been ended before it was done; the test before that is counted
";
    assert_eq!(text.stdout, expect);
    let markdown = kiln(folder.path(), &["show", "out/a.xml", "--format", "markdown"], "", &[]);
    assert_eq!(markdown.code, Some(0));
    assert!(markdown.stdout.contains("\n| 4 | 4 | 0 | 0 | 0 | 0 | 21.0 s |\n"), "{}", markdown.stdout);
    let json = kiln(folder.path(), &["show", "./out/*.xml", "--format", "json"], "", &[]);
    let tests: kiln_wire::run::Tests = serde_json::from_str(&json.stdout).expect("tests");
    assert_eq!((tests.total, tests.failed, tests.problems.len()), (5, 1, 1));
    let none = kiln(folder.path(), &["show", "out/*.json"], "", &[]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(2), "error: no file matches out/*.json\n"));
}

#[test]
fn each_machine_prints_its_share() {
    let event = r#"{"event":"test_cases","stage":"a","step":"s","attempt":1,"cases":[{"class":"p.D","name":"a","result":"passed","duration_ms":8000}]}
{"event":"moon_rose"}
{"event":"test_cases","stage":"a","step":"s","attempt":2,"cases":[{"class":"p.D","name":"a","result":"passed","duration_ms":999000}]}
"#;
    let folder = folder(&[("earlier/1.xml", REPORT), ("earlier/run.jsonl", event)]);
    let names = "p.A\np.B\n\n  p.C\np.D\n";
    let share = |index: &str, words: &[&str]| {
        let all = [&["split", "--index", index, "--total", "2"], words].concat();
        let ended = kiln(folder.path(), &all, names, &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        (ended.stdout.replace('\n', " "), ended.stderr)
    };
    assert_eq!(share("0", &[]).0, "p.A p.C ");
    assert_eq!(share("1", &[]), ("p.B p.D ".into(), "share 1 of 2 (from 0): 2 of 4 tests\n".into()));
    let times = ["--times", "earlier/*"];
    assert_eq!(share("0", &times), ("p.A p.C ".into(), "share 0 of 2 (from 0): 2 of 4 tests, about 15.0 s\n".into()));
    assert_eq!(share("1", &times).0, "p.B p.D ");
    let (first, told) = share("0", &["--times", "earlier/run.jsonl", "--times", "none.xml"]);
    assert_eq!(first, "p.A p.C ");
    assert!(told.starts_with("note: there is no earlier report none.xml\n"), "{told}");
    assert!(
        told.ends_with("note: no report has the time of 3 of them; each counts as the median of the others\n"),
        "{told}"
    );
}

#[test]
fn the_share_is_that_of_the_steps_loop_unless_it_is_given() {
    let folder = folder(&[("a_test.py", ""), ("b_test.py", ""), ("sub/c_test.py", ""), ("sub/old_test.py", "")]);
    let node = [("HARNESS_NODE_INDEX", "1"), ("HARNESS_NODE_TOTAL", "2")];
    let words = ["split", "--glob", "**/*_test.py", "--exclude-glob", "sub/old*"];
    assert_eq!(kiln(folder.path(), &words, "", &node).stdout, "b_test.py\n");
    let other = [&words[..], &["--index", "0"]].concat();
    assert_eq!(kiln(folder.path(), &other, "", &node).stdout, "a_test.py\nsub/c_test.py\n");
    let missing = kiln(folder.path(), &words, "", &[]);
    assert_eq!(missing.code, Some(2));
    let outside = kiln(folder.path(), &["split", "--index", "2", "--total", "2"], "a\n", &[]);
    assert_eq!(outside.code, Some(2));
    assert!(outside.stderr.contains("numbered from 0"), "{}", outside.stderr);
}

#[test]
fn classes_stay_together() {
    let folder = folder(&[]);
    let words = ["split", "--index", "0", "--total", "2", "--by", "class"];
    assert_eq!(
        kiln(folder.path(), &words, "t.py::A::x\nt.py::B::x\nt.py::A::y\n", &[]).stdout,
        "t.py::A::x\nt.py::A::y\n"
    );
}
