//! Whatever the bytes are, reading them ends, and ends with a verdict that fits its findings.

use kiln_document::{Severity, Status};
use kiln_pipeline::facts::Facts;
use kiln_pipeline::reach::Reach;
use kiln_pipeline::{Dialect, Options, load};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    "pipeline:\n  name: demo\n  variables:\n    - {name: v, type: String, value: <+input>.default(1)}\n  stages:\n    - parallel:\n        - stage:\n            name: a b\n            type: CI\n            when: {pipelineStatus: All, condition: <+codebase.branch> == \"main\"}\n            spec:\n              cloneCodebase: true\n              infrastructure: {type: VM, spec: {type: Pool, spec: {poolName: p, os: Linux}}}\n              execution:\n                steps:\n                  - stepGroup:\n                      name: g\n                      strategy: {matrix: {x: [1, 2], exclude: [{x: 1}], maxConcurrency: 1}}\n                      steps:\n                        - step:\n                            name: s\n                            type: Run\n                            timeout: 1h 30m\n                            failureStrategies:\n                              - onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 2, retryIntervals: [1s]}}}\n                            spec:\n                              shell: Bash\n                              command: |-\n                                echo <+matrix.x> <+pipeline.variables.v>\n                              outputVariables: [{name: A}]\n",
    "kind: pipeline\ntype: vm\nname: default\npool: {use: ubuntu}\nx: &env {A: b, C: {from_secret: d}}\nsteps:\n  - name: test\n    commands: [make, make test]\n    environment: {<<: *env}\n    when: {branch: {include: [main, 'release/*']}, event: [push]}\n---\nkind: pipeline\nname: after\ndepends_on: [default]\nsteps: []\n---\nkind: secret\nname: d\nget: {path: a, name: b}\n",
];

fn verdict(bytes: &[u8]) {
    for lenient in [false, true] {
        let options = Options { lenient, ..Options::default() };
        let loaded = load("f", bytes, &options);
        let invalid = loaded.report.diagnostics.iter().any(|found| found.severity == Severity::Invalid);
        assert_eq!(loaded.report.status() == Status::Invalid, invalid);
        assert!(!invalid || loaded.plan.is_none());
        for found in &loaded.report.diagnostics {
            assert!(!found.message.is_empty());
            assert!(found.location.span.start <= loaded.report.source.len(), "{found:?}");
        }
        // Rendering slices the source: it must not cut a character in two.
        let text = loaded.report.text(false);
        assert_eq!(text.is_empty(), loaded.report.diagnostics.is_empty());
        assert!(loaded.report.json().starts_with("{\"file\":\""), "a report is JSON");
        if let Some(plan) = &loaded.plan {
            for (index, node) in plan.stages.nodes.iter().enumerate() {
                assert!(node.needs.iter().all(|need| *need < index), "a need comes before its node");
            }
            let facts = Facts::default();
            let reach = Reach::new(plan, &[], &facts, &[]);
            let needed = plan.secrets(&reach).len() + plan.inputs(&reach).len();
            assert!(needed <= bytes.len(), "nothing is needed that the file does not name");
        }
    }
}

/// Words that matter to the reader, to be put anywhere.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "<+",
        ">",
        "<+input>",
        "<+secrets.getValue('x')>",
        ": ",
        "\n",
        "  ",
        "\t",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        "|",
        "'",
        "\"",
        "\\",
        "null",
        "~",
        "!!binary ",
        "stages:",
        "steps:",
        "parallel:",
        "type: CI",
        "---\n",
        "é",
        "\u{feff}",
        "\0",
        "stepGroup:",
        "strategy:",
        "when:",
        "kind:",
        "depends_on:",
        "99999999999999999999",
        "-1",
        "0x",
        "? ",
    ])
    .prop_map(|text| text.as_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn mutated_pipelines(
        seed in prop::sample::select(SEEDS),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..24, word()), 1..8),
    ) {
        let mut bytes = seed.as_bytes().to_vec();
        for (at, cut, insert) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        verdict(&bytes);
    }

    #[test]
    fn lines_in_any_order(seed in prop::sample::select(SEEDS), order in any::<prop::sample::Index>(), swap in any::<prop::sample::Index>()) {
        let mut lines: Vec<&str> = seed.lines().collect();
        let (a, b) = (order.index(lines.len()), swap.index(lines.len()));
        lines.swap(a, b);
        verdict(lines.join("\n").as_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        verdict(&bytes);
    }
}

/// Real files, cut off and with lines missing. Without them the seeds above have to do.
#[test]
fn real_files_with_damage() {
    for kind in ["harness", "drone"] {
        let Some(directory) = kiln_corpus::folder(kind) else { return };
        let entries = std::fs::read_dir(&directory).expect("the corpus can be listed");
        for entry in entries {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a corpus file can be read");
            for part in 1..8 {
                verdict(&bytes[..bytes.len() * part / 8]);
            }
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            for gap in [2, 3, 7, 11] {
                let kept = lines.iter().enumerate().filter(|(number, _)| number % gap != 1).map(|(_, line)| *line);
                verdict(&kept.collect::<Vec<_>>().concat());
            }
        }
    }
}

#[test]
fn the_seeds_are_read() {
    let harness = load("f", SEEDS[0].as_bytes(), &Options::default());
    assert_eq!(
        (harness.report.status(), harness.dialect),
        (Status::Ok, Some(Dialect::Harness)),
        "{}",
        harness.report.text(false)
    );
    assert_eq!(load("f", SEEDS[1].as_bytes(), &Options::default()).dialect, Some(Dialect::Drone));
}
