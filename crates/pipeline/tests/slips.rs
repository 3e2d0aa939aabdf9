//! Slips of the hand that YAML reads otherwise than they are meant: what is told, where, and the way out.

use std::fmt::Write as _;

use kiln_document::{Severity, Status};
use kiln_pipeline::{Options, load};

/// Asserts what is told of a file, notes left out: `line:column message -> help`, one per line.
#[track_caller]
fn check(text: &str, expected: &str) {
    let report = load("pipeline.yml", text.as_bytes(), &Options::default()).report;
    let mut told = String::new();
    for found in report.diagnostics.iter().filter(|found| found.severity > Severity::Note) {
        let (place, help) = (&found.location, found.help.as_deref().unwrap_or_default());
        let line = format!("{}:{} {} -> {help}", place.line, place.column, found.message);
        let _ = writeln!(told, "{}", line.trim_end());
    }
    let expected: String =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{line}");
            out
        });
    assert_eq!(told, expected, "{}", report.text(false));
    assert_eq!(report.status(), Status::Invalid);
}

/// A Drone pipeline with these commands.
fn commands(lines: &str) -> String {
    format!("kind: pipeline\ntype: vm\nname: p\npool: {{use: a}}\nsteps:\n- name: s\n  commands:\n{lines}")
}

const STAGE: &str = "\
pipeline:
  name: p
  stages:
    - stage:
        name: s
        type: CI
        spec:
          execution:
            steps:
              - step:
                  name: a
                  type: Run
                  spec:
                    command: make
";

#[test]
fn a_colon_in_a_command() {
    let item = "put the command in quotes, or write it on the lines below `- |`";
    let mapping = "an item of `commands` takes text, not a mapping: the `:` here makes one";
    let key = "a `:` is in a place where no key is possible";
    check(&commands("  - echo \"status: ok\"\n  - make\n"), &format!("8:17 {mapping} -> {item}"));
    check(&commands("  - make\n  - echo done:\n"), &format!("9:14 {mapping} -> {item}"));
    check(&commands("  - curl -H 'Accept: text/html' -H \"X: y\" http://x\n"), &format!("8:38 {key} -> {item}"));
    let value = "put the command in quotes, or write it on the lines below `command: |`";
    check(&STAGE.replace("make", "echo \"status: ok\""), &format!("14:42 {key} -> {value}"));
    let below = "`command` takes text, not a mapping: the `:` here makes one";
    check(&STAGE.replace("make", "\n                      echo \"status: ok\""), &format!("15:35 {below} -> {value}"));
}

#[test]
fn a_command_that_begins_with_a_sign_of_yaml() {
    let item = "put the command in quotes, or write it on the lines below `- |`";
    for (line, told) in [
        ("\"./run.sh\" --flag", "8:16 text follows the closing quote"),
        ("[ -f x ] && make", "8:14 a key and a `:` are expected here"),
        ("{ make; } 2>&1", "8:15 a key and a `:` are expected here"),
        ("@echo x", "8:5 a text without quotes cannot begin with `@`"),
        ("`date`", "8:5 a text without quotes cannot begin with ```"),
    ] {
        check(&commands(&format!("  - {line}\n")), &format!("{told} -> {item}"));
    }
    let define = "define the anchor with `&name` above; anchors do not carry over from one document to the next";
    let alias = "8:5 the alias names an anchor that is not defined before it";
    check(&commands("  - *.sh\n"), &format!("{alias} -> {define}; where the `*` is a part of the text, {item}"));
    // This one runs, and not what it says.
    let loaded = load("pipeline.yml", commands("  - ! grep x y\n").as_bytes(), &Options::default());
    let lost: Vec<&str> = loaded.report.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!((loaded.report.status(), lost), (Status::Ok, vec!["lost-tag"]));
}

#[test]
fn lines_that_are_not_indented() {
    let stage = STAGE.replace("\n        name: s", "\n      name: s").replace("\n        type: CI", "\n      type: CI");
    let stage = stage.replace("\n        spec:", "\n      spec:");
    check(
        &stage,
        "4:7 `stage` is empty, and `name`, `type` and `spec` stand beside it -> indent the lines below `stage:`",
    );
    let step = STAGE.replace("                    command", "                  command");
    check(&step, "13:19 `spec` is empty, and `command` stands beside it -> indent the lines below `spec:`");
    let execution = STAGE.replace("          execution", "        execution");
    check(&execution, "7:9 `spec` is empty, and `execution` stands beside it -> indent the lines below `spec:`");
    let all: String = STAGE.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
    check(
        &all,
        "1:1 `pipeline` is empty, and `name` and `stages` stand beside it -> indent the lines below `pipeline:`",
    );
    let drone = commands("  - make\n").replace("pool: {use: a}", "pool:\nuse: a");
    check(&drone, "4:1 `pool` is empty, and `use` stands beside it -> indent the lines below `pool:`");
}

#[test]
fn keys_with_nothing_below_them() {
    let item = STAGE.replace("    - stage:\n", "    - stage:\n    - stage:\n");
    check(&item, "4:7 `stage` is empty -> indent the lines below `stage:`; each item is `- stage:` or `- parallel:`");
    let parallel = STAGE.replace("              - step:\n", "              - parallel:\n              - step:\n");
    let each = "each item is `- step:`, `- stepGroup:` or `- parallel:`";
    check(&parallel, &format!("10:17 `parallel` is empty -> indent the lines below `parallel:`; {each}"));
    check(
        "pipeline:\n",
        "1:1 `pipeline` is empty -> indent the lines below `pipeline:`; give it a `name` and `stages`",
    );
}

#[test]
fn a_pipeline_without_its_first_line() {
    let line = "the line `pipeline:` is missing above this Harness pipeline";
    let write = "write `pipeline:` above the first line, and indent everything below";
    let rest = STAGE.strip_prefix("pipeline:\n").unwrap_or_default().replace("\n  ", "\n").replacen("  ", "", 1);
    check(&rest, &format!("1:1 {line} -> {write}"));
    check("identifier: p\nstages: <+input>\n", &format!("1:1 {line} -> {write}"));
    check("stages:\n  - parallel:\n      - stage: {name: s, type: CI}\n", &format!("1:1 {line} -> {write}"));
    let lines = "`pipeline:`, with its `name:` and `stages:`, is missing above this Harness pipeline";
    let list = "write `pipeline:`, `  name: ...` and `  stages:` above the list, and indent everything below";
    check("- stage: {name: s, type: CI}\n", &format!("1:3 {lines} -> {list}"));
    let keys = "write `pipeline:`, `  name: ...`, `  stages:` and `  - stage:` above the stage's keys, and indent everything below";
    check("stage: {name: s, type: CI, spec: {}}\n", &format!("1:1 {lines} -> {keys}"));
    // A configuration of GitLab stays one.
    let gitlab = "this looks like a GitLab CI configuration, Kiln reads Harness and Drone pipelines";
    let both = "a Harness file starts with `pipeline:`, a Drone file with `kind: pipeline`";
    check("stages: [build]\nbuild: {script: make}\n", &format!("1:1 {gitlab} -> {both}"));
}

#[test]
fn spaces_and_quotes_that_are_none() {
    let space = "a no-break space (U+00A0) is in this place, and YAML does not treat it as a space";
    let write = "write a space in its place";
    for (from, to, place) in [
        ("name: a", "name:\u{a0}a", "11:24"),
        ("type: Run", "type:\u{a0}Run", "12:24"),
        ("type: Run", "type: \u{a0}Run", "12:25"),
        ("type: Run", "type: Run\u{a0}", "12:28"),
        ("type: Run", "\u{a0}type: Run", "12:19"),
        ("  type: Run", " \u{a0}type: Run", "12:18"),
        ("- step:", "-\u{a0}step:", "10:16"),
        ("type: CI", "type: CI\u{a0}", "6:17"),
        ("pipeline:", "\u{a0}pipeline:", "1:1"),
    ] {
        check(&STAGE.replace(from, to), &format!("{place} {space} -> {write}"));
    }
    let lines = STAGE.replace("  name: p", "\u{a0}\u{a0}name: p").replace("  stages:", "\u{a0}\u{a0}stages:");
    check(&lines[..lines.find("    - stage").unwrap_or_default()], &format!("2:1 {space} (also in line 3) -> {write}"));
    let quote = "a typographic quote (U+201C) is in this place, and YAML does not treat it as `\"`";
    check(
        &STAGE.replace("type: Run", "\u{201c}type\u{201d}: Run"),
        &format!("12:19 {quote} -> write `\"` in its place"),
    );
    check(
        &STAGE.replace("type: Run", "type: \u{201c}Run\u{201d}"),
        &format!("12:25 {quote} -> write `\"` in its place"),
    );
    let colon = "a wide colon (U+FF1A) is in this place, and YAML does not treat it as `:`";
    check(&STAGE.replace("type: Run", "type\u{ff1a} Run"), &format!("12:23 {colon} -> write `:` in its place"));
    check(&commands("  -\u{a0}make\n  - make\n"), &format!("8:4 {space} -> {write}"));
    // What stands in a text belongs to it.
    let named = STAGE.replace("name: a", "name: Caf\u{e9}\u{a0}\u{ab} x \u{bb}").replace("type: Run", "tpye: Run");
    check(&named, "12:19 unknown key `tpye` in a step -> did you mean `type`?");
}
