//! Broken files and their exact findings: place, text, advice.
//!
//! Each case names the code of its finding. The whole output is one snapshot per group.

mod sections;

use std::fmt::Write as _;

use kiln_document::{Severity, Status};
use kiln_pool_file::amazon::Amazon;
use kiln_pool_file::{Options, load};

use sections::Shed;

/// A name, the code and the severity of the finding, and the file.
type Case<'a> = (&'a str, &'a str, Severity, String);

const INVALID: Severity = Severity::Invalid;
const WARNING: Severity = Severity::Warning;
const UNSUPPORTED: Severity = Severity::Unsupported;

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "COUNT" => "3",
        "WORD" => "three",
        "EMPTY" => "",
        "INJECTED" => "x\n  limit: 1",
        _ => return None,
    };
    Some(value.to_owned())
}

fn check(group: &str, cases: &[Case<'_>]) {
    let mut out = String::new();
    for (name, code, severity, text) in cases {
        let loaded = load("pool.yml", text.as_bytes(), &Options { env: &variables, sections: &[&Shed, &Amazon] });
        let worst = match severity {
            Severity::Invalid => Status::Invalid,
            Severity::Unsupported => Status::Unsupported,
            _ => Status::Ok,
        };
        assert_eq!(loaded.report.status(), worst, "{name}: {}", loaded.report.text(false));
        assert_eq!(loaded.is_ok(), worst == Status::Ok, "{name}");
        assert_eq!(loaded.config.is_some(), worst != Status::Invalid, "{name}: an invalid file has no configuration");
        let mut found = loaded.report.diagnostics.iter().filter(|found| found.severity == *severity);
        assert!(found.any(|found| found.code == *code), "{name}: {}", loaded.report.text(false));
        let _ = write!(out, "=== {name}\n{}", loaded.report.text(false));
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(group, out) });
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

/// Returns a file with one local pool and further keys of it.
fn pool(keys: &str) -> String {
    format!("instances:\n- name: local\n  type: shed\n  spec: {{image: ubuntu}}\n{}", indented(keys, 2))
}

/// Returns a file with one local pool and keys of its spec.
fn shed(keys: &str) -> String {
    format!("instances:\n- name: local\n  type: shed\n  spec:\n{}", indented(keys, 4))
}

/// Returns a file with one EC2 pool and further keys of its spec.
fn amazon(keys: &str) -> String {
    format!(
        "instances:\n- name: linux\n  type: amazon\n  spec:\n    ami: ami-1\n    size: m6i.large\n{}",
        indented(keys, 4)
    )
}

#[test]
fn the_file_as_a_whole() {
    check(
        "file",
        &[
            ("empty", "no-pools", INVALID, String::new()),
            ("only a comment", "no-pools", INVALID, "# nothing\n".to_owned()),
            ("no instances", "no-pools", INVALID, "version: '1'\n".to_owned()),
            ("an empty list", "no-pools", INVALID, "instances: []\n".to_owned()),
            ("a list without a name", "no-instances", INVALID, "- name: a\n- name: $NOWHERE\n".to_owned()),
            ("a list of texts", "wrong-type", INVALID, "- a\n".to_owned()),
            (
                "the format of 2021",
                "format-2021",
                INVALID,
                "name: linux\nmax_pool_size: 2\naccount: {region: us-east-2}\ninstance: {ami: ami-1}\n---\nname: other\n".to_owned(),
            ),
            (
                "the format of 2021 as it was documented",
                "format-2021",
                INVALID,
                "kind: pipeline\ntype: aws\nname: common\npool_count: 1\naccount:\n  region: us-east-2\n\n----\nkind: pipeline\nname: weird\n".to_owned(),
            ),
            ("a list under another name", "no-instances", INVALID, "version: '1'\npools:\n- {name: $NOWHERE, type: shed}\n".to_owned()),
            ("a pool at the top", "no-instances", INVALID, "name: a\ntype: shed\nspec: {image: x}\n".to_owned()),
            ("four dashes", "yaml-syntax", INVALID, format!("{}----\n", pool(""))),
            ("instances are a mapping", "wrong-type", INVALID, "instances: {name: a}\n".to_owned()),
            ("a pool is text", "wrong-type", INVALID, "instances: [linux]\n".to_owned()),
            ("not YAML", "yaml-syntax", INVALID, "instances:\n- name: 'a\n".to_owned()),
            ("indented with a tab", "tab-indentation", INVALID, "instances:\n\t- name: a\n".to_owned()),
            ("two documents", "several-documents", INVALID, format!("{0}---\n{0}", pool(""))),
            ("a misspelt key of the file", "unknown-key", INVALID, "instance:\n- {name: a}\n".to_owned()),
            ("a key of nobody", "unknown-key", WARNING, format!("maintainers: [ops]\n{}", pool(""))),
            ("a pool outside of the list", "unknown-key", INVALID, format!("limit: 4\n{}", pool(""))),
            ("a key in two spellings", "duplicate-key", INVALID, pool("limit: 4\nLIMIT: 5")),
            (
                "times that make no sense",
                "out-of-range",
                INVALID,
                format!("kiln: {{boot_timeout: 0s, launches_at_once: 0}}\n{}", pool("")),
            ),
            ("times without a unit", "bad-duration", INVALID, format!("kiln: {{boot_timeout: 900}}\n{}", pool(""))),
            (
                "a time of nobody",
                "unknown-key",
                INVALID,
                format!("kiln: {{boot_timout: 900s, colour: red}}\n{}", pool("")),
            ),
        ],
    );
}

#[test]
fn pools() {
    check(
        "pools",
        &[
            ("no name", "missing-key", INVALID, "instances:\n- type: shed\n  spec: {image: a}\n".to_owned()),
            (
                "an empty name",
                "bad-name",
                INVALID,
                "instances:\n- {name: '', type: shed, spec: {image: a}}\n".to_owned(),
            ),
            (
                "a name with a slash",
                "bad-name",
                INVALID,
                "instances:\n- {name: a/b, type: shed, spec: {image: a}}\n".to_owned(),
            ),
            (
                "a name is a list",
                "wrong-type",
                INVALID,
                "instances:\n- {name: [a], type: shed, spec: {image: a}}\n".to_owned(),
            ),
            (
                "two of one name",
                "duplicate-pool",
                INVALID,
                format!("{}- {{name: local, type: shed, spec: {{image: a}}}}\n", pool("")),
            ),
            ("no type", "missing-key", INVALID, "instances:\n- {name: a, spec: {image: a}}\n".to_owned()),
            ("type aws", "unknown-type", INVALID, "instances:\n- {name: a, type: aws, spec: {}}\n".to_owned()),
            ("type barn", "unknown-type", INVALID, "instances:\n- {name: a, type: barn, spec: {}}\n".to_owned()),
            ("type gcp", "unknown-type", INVALID, "instances:\n- {name: a, type: gcp, spec: {}}\n".to_owned()),
            (
                "type with a slip",
                "unknown-type",
                INVALID,
                "instances:\n- {name: a, type: amazom, spec: {}}\n".to_owned(),
            ),
            ("type of nobody", "unknown-type", INVALID, "instances:\n- {name: a, type: zzz, spec: {}}\n".to_owned()),
            ("no spec", "missing-key", INVALID, "instances:\n- {name: a, type: shed}\n".to_owned()),
        ],
    );
}

#[test]
fn settings_of_pools() {
    check(
        "pool_settings",
        &[
            ("a misspelt key", "unknown-key", INVALID, pool("limt: 4")),
            ("a key with another underscore", "unknown-key", INVALID, pool("variantid: a")),
            ("a key of a variant", "unknown-key", INVALID, pool("machine_type: t3.large")),
            ("pool is a word", "wrong-type", INVALID, pool("pool: many")),
            ("pool is a fraction", "wrong-type", INVALID, pool("pool: 1.5")),
            ("pool is a list", "wrong-type", INVALID, pool("pool: [1]")),
            ("pool is far too large", "out-of-range", INVALID, pool("pool: 1000000")),
            ("pool is negative", "negative", WARNING, pool("pool: -2")),
            ("limit is zero", "no-limit", WARNING, pool("limit: 0")),
            ("limit below pool", "limit-below-pool", WARNING, pool("pool: 5\nlimit: 2")),
            ("ignored by all", "no-effect", WARNING, pool("default: true\nvariant_id: default")),
            ("platform is text", "wrong-type", INVALID, pool("platform: linux")),
            ("an operating system of nobody", "unknown-value", INVALID, pool("platform: {os: Linux, arch: x86_64}")),
            (
                "a distribution of nobody",
                "unknown-value",
                WARNING,
                pool("platform: {os_name: gentoo, version: '1', variant: v8}"),
            ),
            ("Windows", "unsupported-platform", UNSUPPORTED, pool("platform: {os: windows}")),
            (
                "google",
                "unsupported-driver",
                UNSUPPORTED,
                "instances:\n- {name: a, type: google, spec: {image: x}}\n".to_owned(),
            ),
            (
                "anka",
                "unsupported-driver",
                UNSUPPORTED,
                "instances:\n- {name: a, type: anka, platform: {os: darwin}}\n".to_owned(),
            ),
            (
                "noop",
                "unsupported-driver",
                UNSUPPORTED,
                "instances:\n- {name: a, type: noop, spec: {hibernate: false}}\n".to_owned(),
            ),
        ],
    );
}

#[test]
fn variables_of_the_environment() {
    check(
        "variables",
        &[
            ("a missing variable", "missing-variable", INVALID, pool("limit: $NOWHERE")),
            (
                "a missing variable that is used twice, and where a value is needed",
                "missing-variable",
                INVALID,
                "instances:\n- name: $NOWHERE\n  type: shed\n  limit: $NOWHERE\n  spec: {image: '$NOWHERE'}\n"
                    .to_owned(),
            ),
            ("a missing variable within text", "missing-variable", INVALID, amazon("tags: {team: 'a-${TEAM}'}")),
            ("a default", "bad-variable", INVALID, pool("limit: ${COUNT:-4}")),
            ("an open brace", "bad-variable", INVALID, pool("limit: '${COUNT'")),
            ("a number with two readings", "two-readings", INVALID, pool("limit: 010\npool: 007")),
            ("an empty variable", "empty-variable", INVALID, pool("limit: $EMPTY")),
            (
                "a dollar sign in a secret",
                "missing-variable",
                INVALID,
                amazon("account: {access_key_id: A, access_key_secret: 'abc$ecretTail'}"),
            ),
            ("a value of the wrong kind", "wrong-type", INVALID, pool("limit: $WORD")),
            (
                "a value that looks like YAML",
                "bad-name",
                INVALID,
                "instances:\n- name: $INJECTED\n  type: shed\n  spec: {image: a}\n".to_owned(),
            ),
        ],
    );
}

#[test]
fn specs() {
    let two_zones = "network: {zone_details: [{availability_zone: a, subnet_id: s}, {availability_zone: b}]}";
    check(
        "specs",
        &[
            ("shed: no image", "missing-key", INVALID, shed("cpus: 2")),
            ("shed: an empty spec", "wrong-type", INVALID, shed("[]")),
            ("shed: memory in GiB", "out-of-range", INVALID, shed("image: a\nmemory: 8")),
            ("shed: no processors", "out-of-range", INVALID, shed("image: a\ncpus: 0\ndisk: {size: 99999999}")),
            ("shed: disk is a number", "wrong-type", INVALID, shed("image: a\ndisk: 20")),
            ("shed: the key of another driver", "unknown-key", INVALID, shed("image: a\nami: ami-1\nmemroy: 2048")),
            (
                "amazon: nothing said",
                "missing-key",
                INVALID,
                "instances:\n- {name: a, type: amazon, spec: {}}\n".to_owned(),
            ),
            (
                "amazon: a misspelt key",
                "unknown-key",
                INVALID,
                amazon("iam_profile: x\nnetwork: {security_group: [a]}"),
            ),
            ("amazon: privateIP", "unknown-key", INVALID, amazon("network: {privateIP: true}")),
            ("amazon: a key in the wrong place", "unknown-key", INVALID, amazon("subnet_id: subnet-1")),
            ("amazon: groups are text", "wrong-type", INVALID, amazon("network: {security_groups: sg-1}")),
            ("amazon: a zone without a subnet", "missing-key", INVALID, amazon(two_zones)),
            ("amazon: half a key", "half-a-key", INVALID, amazon("account: {access_key_id: AKIA}")),
            (
                "amazon: keys in the file",
                "key-in-file",
                WARNING,
                amazon("account: {access_key_id: A, access_key_secret: s, aws_session_token: t}"),
            ),
            (
                "amazon: no size",
                "default-size",
                WARNING,
                "instances:\n- {name: a, type: amazon, spec: {ami: ami-1}}\n".to_owned(),
            ),
            (
                "amazon: ignored keys",
                "no-effect",
                WARNING,
                amazon(
                    "user_data: 'echo $HOME'\nuser: ubuntu\nenable_c4d: true\nnetwork: {vpc_security_group_ids: [sg-1]}",
                ),
            ),
            ("amazon: an unknown market", "unknown-value", WARNING, amazon("market_type: spott")),
            (
                "amazon: too large",
                "spec-too-large",
                INVALID,
                amazon(&format!("tags: {{a: {}}}", "x".repeat(40_000)))
                    .replace(&"x".repeat(40_000), &"x ".repeat(20_000)),
            ),
        ],
    );
}

#[test]
fn variants() {
    let zones = "network: {zone_details: [{availability_zone: a, subnet_id: s}]}";
    let with_variant = |keys: &str| format!("{}  variants:\n  - {{variant_id: big, {keys}}}\n", amazon(zones));
    check(
        "variants",
        &[
            ("no variant_id", "missing-key", INVALID, pool("variants: [{pool: 1}]")),
            ("an empty variant_id", "bad-name", INVALID, pool("variants: [{variant_id: ''}]")),
            (
                "a variant twice",
                "duplicate-variant",
                INVALID,
                pool("variants:\n- {variant_id: a}\n- {variant_id: a, resource_class: x}"),
            ),
            (
                "a variant that nothing gets",
                "unreachable-variant",
                WARNING,
                pool("variants:\n- {variant_id: a, resource_class: x}\n- {variant_id: b, resource_class: x}"),
            ),
            ("a misspelt key", "unknown-key", INVALID, pool("variants:\n- {variant_id: a, resource_clas: x}")),
            (
                "a limit below pool",
                "limit-below-pool",
                WARNING,
                pool("variants:\n- {variant_id: a, pool: 3, limit: 1}"),
            ),
            (
                "more ready than the limit",
                "limit-below-pool",
                WARNING,
                pool("pool: 2\nlimit: 4\nvariants:\n- {variant_id: a, pool: 3}"),
            ),
            (
                "what shed has no use for",
                "no-effect",
                WARNING,
                pool("variants:\n- {variant_id: a, machine_type: t3.large, gpu: true}"),
            ),
            (
                "a spec of its own with a slip",
                "unknown-key",
                INVALID,
                pool("variants:\n- {variant_id: a, kiln: {spec: {cpu: 4}}}"),
            ),
            (
                "a disk beyond the driver's limit",
                "out-of-range",
                INVALID,
                pool("variants:\n- {variant_id: a, disk_size: 501}"),
            ),
            ("a zone without a subnet", "unknown-zone", INVALID, with_variant("zones: [a, c]")),
            (
                "zones without zone_details",
                "no-effect",
                WARNING,
                format!("{}  variants: [{{variant_id: big, zones: [a]}}]\n", amazon("")),
            ),
        ],
    );
}

#[test]
fn tenants() {
    check(
        "tenants",
        &[
            ("no ids", "missing-key", INVALID, pool("tenants: [{group_id: bank}]")),
            ("empty ids", "missing-key", INVALID, pool("tenants: [{ids: []}]")),
            ("an empty id", "bad-name", INVALID, pool("tenants: [{ids: ['']}, {group_id: g, ids: [a, '']}]")),
            (
                "one account in two tenants",
                "account-in-two-tenants",
                INVALID,
                pool("tenants: [{ids: [a, b]}, {ids: [c, b]}]"),
            ),
            (
                "a tenant twice",
                "duplicate-tenant",
                INVALID,
                pool("tenants: [{group_id: g, ids: [a]}, {group_id: g, ids: [b]}]"),
            ),
            (
                "a tenant's spec of the wrong kind",
                "wrong-type",
                INVALID,
                pool("tenants: [{ids: [a], spec: {cpus: [1]}}]"),
            ),
            (
                "a tenant that empties",
                "emptied-by-tenant",
                WARNING,
                format!(
                    "{}  tenants: [{{ids: [a], spec: {{hibernate: false, network: {{private_ip: false}}}}}}]\n",
                    amazon("hibernate: true\nnetwork: {private_ip: true}")
                ),
            ),
            (
                "too many",
                "too-many-flavors",
                INVALID,
                pool(&format!(
                    "variants: [{}]",
                    (0..1200)
                        .map(|n| format!("{{variant_id: v{n}, resource_class: r{n}}}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            ),
        ],
    );
}

#[test]
fn additions() {
    let kiln = |keys: &str| pool(&format!("kiln: {{{keys}}}"));
    let other = "- {name: arm, type: shed, platform: {arch: arm64}, spec: {image: a}}\n";
    check(
        "additions",
        &[
            ("a misspelt key", "unknown-key", INVALID, kiln("schedule: [], hold: true")),
            ("not a mapping", "wrong-type", INVALID, pool("kiln: true")),
            ("a schedule without anything", "missing-key", INVALID, kiln("schedules: [{}]")),
            ("a schedule is text", "wrong-type", INVALID, kiln("schedules: [daily]")),
            (
                "a day that never comes",
                "never-begins",
                WARNING,
                kiln("schedules: [{cron: 0 8 31 2 *, duration: 10h, pool: 3}]"),
            ),
            ("not cron", "bad-cron", INVALID, kiln("schedules: [{cron: daily, duration: 10h, pool: 3}]")),
            (
                "not a time zone",
                "bad-time-zone",
                INVALID,
                kiln("schedules: [{cron: 0 8 * * *, duration: 10h, pool: 3, time_zone: Europe/Zurych}]"),
            ),
            ("too short", "out-of-range", INVALID, kiln("schedules: [{cron: 0 8 * * *, duration: 10s, pool: 3}]")),
            (
                "a duration without a unit",
                "bad-duration",
                INVALID,
                kiln("schedules: [{cron: 0 8 * * *, duration: '10', pool: 3}]"),
            ),
            (
                "an empty duration",
                "bad-duration",
                INVALID,
                kiln("schedules: [{cron: 0 8 * * *, duration: '', pool: 3}]"),
            ),
            (
                "an unknown variant",
                "unknown-variant",
                INVALID,
                pool(
                    "variants: [{variant_id: large}]\nkiln: {schedules: [{cron: 0 8 * * *, duration: 10h, pool: 3, variant: lagre}]}",
                ),
            ),
            (
                "more than the limit",
                "limit-below-pool",
                WARNING,
                pool("limit: 2\nkiln: {schedules: [{cron: 0 8 * * *, duration: 10h, pool: 3}]}"),
            ),
            ("ages that make no sense", "out-of-range", INVALID, kiln("ages: {free: 1s, busy: 100w}")),
            ("an age beyond max", "age-beyond-max", WARNING, kiln("ages: {free: 3d, max: 48h}")),
            (
                "an unknown fallback",
                "unknown-pool",
                INVALID,
                format!("{}- {{name: other, type: shed, spec: {{image: a}}}}\n", kiln("fallbacks: [othre]")),
            ),
            ("its own fallback", "own-fallback", INVALID, kiln("fallbacks: [local]")),
            (
                "a fallback of another platform",
                "unlike-fallback",
                WARNING,
                format!("{}{other}", kiln("fallbacks: [arm]")),
            ),
            ("imds is a word", "wrong-type", INVALID, kiln("imds: open")),
            ("docker_socket is a word", "wrong-type", INVALID, kiln("docker_socket: mounted")),
        ],
    );
}

#[test]
fn networks() {
    let kiln = |keys: &str| pool(&format!("kiln: {{{keys}}}"));
    check(
        "networks",
        &[
            ("isolation is a word", "wrong-type", INVALID, kiln("network: {isolation: strict}")),
            ("a misspelt opening", "unknown-key", INVALID, kiln("network: {allow_host: ['10.1.2.3:443']}")),
            ("a host without a port", "bad-opening", INVALID, kiln("network: {allow_hosts: [10.1.2.3]}")),
            ("a host by its name", "bad-opening", INVALID, kiln("network: {allow_hosts: ['db.example:5432']}")),
            ("a network with host bits", "bad-opening", INVALID, kiln("network: {allow: [10.1.2.3/8]}")),
            (
                "openings of what is not closed",
                "no-effect",
                WARNING,
                kiln("network: {isolation: off, allow: [10.0.0.0/8]}"),
            ),
            (
                "openings where nothing isolates",
                "no-effect",
                WARNING,
                "instances:\n- name: cloud\n  type: amazon\n  spec: {ami: ami-1, size: m6i.large}\n  \
                 kiln: {network: {isolation: off}}\n"
                    .to_owned(),
            ),
        ],
    );
}

#[test]
fn a_driver_that_the_program_lacks_is_unsupported() {
    let text = amazon("");
    let of = |sections| load("pool.yml", text.as_bytes(), &Options { env: &variables, sections });
    assert_eq!(of(&[&Shed, &Amazon]).report.status(), Status::Ok);
    let lacking = of(&[&Shed]);
    assert!(!lacking.is_ok());
    assert_eq!(
        lacking.report.json(),
        r#"{"file":"pool.yml","status":"unsupported","diagnostics":[{"code":"unsupported-driver","severity":"unsupported","message":"there is no amazon driver in this release","line":3,"column":9,"help":"move the pool to a driver of this release (`shed`), or leave it with drone-runner-aws and remove it from this file"}]}"#
    );
    assert!(lacking.config.is_some(), "for showing");
}
