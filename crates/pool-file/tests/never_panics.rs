//! Reading any bytes ends, with a verdict that fits the findings.

mod sections;

use kiln_document::{Severity, Status};
use kiln_pool_file::{Options, load};
use proptest::prelude::*;

use sections::Shed;

const SEEDS: &[&str] = &[
    "version: '1'\nkiln: {boot_timeout: 5m, launches_at_once: 3}\ninstances:\n- name: local\n  type: shed\n  pool: 1\n  limit: 4\n  platform: {os: linux, arch: amd64}\n  spec: &s {image: ubuntu, cpus: 2, memory: 2048, disk: {size: 20}}\n  variants:\n  - {variant_id: big, resource_class: large, kiln: {spec: {cpus: 4}}}\n  tenants:\n  - {group_id: g, ids: [a, b], pool: 0, spec: {cpus: 1}, variants: [{variant_id: big, pool: 1}]}\n  kiln:\n    schedules: [{cron: 0 8 * * MON-FRI, time_zone: Europe/Zurich, duration: 10h, pool: 3, variant: big}]\n    ages: {free: 1h, busy: 2h, max: 3h}\n    fallbacks: [other]\n    imds: true\n- {name: other, type: shed, spec: *s}\n",
    "instances:\n- name: linux\n  default: true\n  type: amazon\n  pool: $N\n  spec:\n    account: {region: \"${R}\", access_key_id: a, access_key_secret: b}\n    ami: ami-1\n    size: t3.large\n    disk: {size: 100, iops: 10, tags: {a: b}}\n    network:\n      private_ip: false\n      zone_details: [{availability_zone: a, subnet_id: b}]\n  variants: [{variant_id: v, zones: [a], machine_type: m, disk_size: 1, gpu: {}}]\n  tenants: [{ids: [x], spec: {network: {private_ip: true, security_groups: []}}}]\n- {name: g, type: google, spec: {zone: [a]}, tenants: [{ids: [y]}]}\n",
];

fn verdict(bytes: &[u8]) {
    let env = |name: &str| (name.len() < 3).then(|| name.to_owned());
    let loaded = load("f", bytes, &Options { env: &env, sections: &[&Shed] });
    let invalid = loaded.report.diagnostics.iter().any(|found| found.severity == Severity::Invalid);
    assert_eq!(loaded.report.status() == Status::Invalid, invalid);
    assert_eq!(loaded.config.is_none(), invalid, "a configuration, or a reason why there is none");
    // Rendering slices the source, and must not cut a character in two.
    assert_eq!(loaded.report.text(false).is_empty(), loaded.report.diagnostics.is_empty());
    assert!(loaded.report.json().starts_with("{\"file\":\"f\","));
    let Some(config) = loaded.config else { return };
    for (name, pool) in &config.pools {
        assert_eq!(*name, pool.name);
        assert!(pool.limit >= 1);
        assert_eq!(pool.flavors[0].key, *name, "the base comes first");
        for flavor in &pool.flavors {
            let (owner, found) = config.flavor(&flavor.key).expect("found by its key");
            assert_eq!((owner.name.as_str(), found), (name.as_str(), flavor), "keys are unique");
            assert!(flavor.limit.is_none_or(|limit| limit >= 1));
        }
        for fallback in &pool.fallbacks {
            assert!(config.pools.contains_key(fallback));
        }
    }
}

/// Words with a meaning to the reader, for any place.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "$",
        "${",
        "}",
        "$$",
        "$R",
        "${R}",
        ": ",
        "\n",
        "  ",
        "\t",
        "- ",
        "&a ",
        "*a",
        "*s",
        "<<: ",
        "{",
        "[",
        "]",
        "|",
        "'",
        "\"",
        "null",
        "~",
        "---\n",
        "é",
        "\u{feff}",
        "\0",
        "name:",
        "NAME:",
        "type: shed",
        "spec:",
        "variants:",
        "tenants:",
        "ids: []",
        "kiln:",
        "99999999999999999999",
        "-1",
        "0x1F",
        "1.5",
        "? ",
        "/",
        "@",
        "access_key_secret: é",
    ])
    .prop_map(|text| text.as_bytes().to_vec())
}

fn change() -> impl Strategy<Value = (usize, usize, Vec<u8>)> {
    (any::<usize>(), 0_usize..12, prop_oneof![word(), prop::collection::vec(any::<u8>(), 0..4)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        verdict(&bytes);
    }

    #[test]
    fn changed_files(seed in 0..SEEDS.len(), changes in prop::collection::vec(change(), 0..6)) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, remove, insert) in changes {
            let at = at % (bytes.len() + 1);
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        verdict(&bytes);
    }
}

#[test]
fn large_files_end_soon() {
    let many = |item: fn(usize) -> String, count: usize| (0..count).map(item).collect::<Vec<_>>().join(", ");
    let pools = many(|n| format!("{{name: p{n}, type: shed, spec: {{image: a}}}}"), 15_000);
    verdict(format!("instances: [{pools}]").as_bytes());
    let variants = many(|n| format!("{{variant_id: v{n}}}"), 20_000);
    let tenants = many(|n| format!("{{ids: [a{n}]}}"), 20_000);
    let pool = format!("{{name: p, type: shed, spec: {{image: a}}, variants: [{variants}], tenants: [{tenants}]}}");
    verdict(format!("instances: [{pool}]").as_bytes());
    let fallbacks = ["other"; 32].join(", ");
    let turning = format!("type: shed, spec: {{image: a}}, kiln: {{fallbacks: [{fallbacks}]}}");
    let pools = (0..2_500).map(|n| format!("{{name: pool{n}, {turning}}}")).collect::<Vec<_>>().join(", ");
    verdict(format!("instances: [{pools}]").as_bytes());
    verdict(format!("instances: [{}", "{variants: [".repeat(90_000)).as_bytes());
}
