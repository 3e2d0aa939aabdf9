//! Good files and their configurations, as a text for people.

mod sections;

use std::fmt::Write as _;

use kiln_document::Severity;
use kiln_pool::{Config, Flavor, Network, Pool, Timing};
use kiln_pool_file::amazon::Amazon;
use kiln_pool_file::{Loaded, Options, load};

use sections::Shed;

fn variables(name: &str) -> Option<String> {
    match name {
        "REGION" => Some("eu-west-1".to_owned()),
        "WARM" => Some("2".to_owned()),
        "SECRET" => Some("s3cr$t: {a: b}".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Loaded {
    load("pool.yml", text.as_bytes(), &Options { env: &variables, sections: &[&Shed, &Amazon] })
}

fn check(name: &str, text: &str) {
    let loaded = read(text);
    assert!(loaded.is_ok(), "{}", loaded.report.text(false));
    let config = dump(loaded.config.as_ref().expect("a configuration"));
    let out = format!("{text}=== configuration\n{config}=== findings\n{}", loaded.report.text(false));
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, out) });
}

fn dump(config: &Config) -> String {
    let mut out = String::new();
    if config.timing != Timing::default() {
        let _ = writeln!(out, "{:?}", config.timing);
    }
    config.pools.values().for_each(|pool| dump_pool(pool, &mut out));
    out
}

fn dump_pool(pool: &Pool, out: &mut String) {
    let Pool { name, driver, os, arch, limit, ages, fallbacks, imds, docker_socket, .. } = pool;
    let switches = format!("imds {imds}, docker_socket {docker_socket}");
    let _ = writeln!(out, "{name}: {driver} {os}/{arch}, at most {limit}, {switches}, fallbacks {fallbacks:?}");
    let _ = writeln!(out, "  ages: free {}, busy {}, max {}", ages.free_max_age_s, ages.busy_max_age_s, ages.max_age_s);
    for schedule in &pool.schedules {
        let _ = writeln!(out, "  schedule {schedule}, variant {:?}", schedule.variant);
    }
    pool.flavors.iter().for_each(|flavor| dump_flavor(flavor, out));
}

fn dump_flavor(flavor: &Flavor, out: &mut String) {
    let Flavor {
        key,
        variant,
        tenant,
        resource_class,
        nested_virtualization,
        warm,
        limit,
        hibernate,
        launch,
        places: _,
    } = flavor;
    let _ = writeln!(out, "  {key}: {warm} ready, limit {limit:?}, class {resource_class:?}, variant {variant:?}");
    let _ = writeln!(out, "    nested {nested_virtualization}, hibernate {hibernate}");
    if let Some(tenant) = tenant {
        let _ = writeln!(out, "    tenant {} of {:?}", tenant.id, tenant.accounts);
    }
    let _ = writeln!(
        out,
        "    {:?}, {} cpus, {} MiB, {} GiB, {}",
        launch.image, launch.cpus, launch.memory_mib, launch.disk_gib, launch.spec
    );
    if launch.network != Network::default() {
        let _ = writeln!(out, "    {}", serde_json::to_string(&launch.network).expect("JSON"));
    }
}

#[test]
fn a_local_pool_needs_little() {
    check("local_little", "instances:\n- name: local\n  type: shed\n  spec: {image: ubuntu}\n");
}

#[test]
fn local_variants_and_additions() {
    check(
        "local_all",
        r"version: 1
kiln: {boot_timeout: 5m, launch_timeout: 2m, unreachable_after: 30s, vanished_after: 3m, unattended_after: 10m,
  surplus_after: 90s, launches_at_once: 4}
instances:
- name: local
  type: shed
  pool: 1
  limit: 8
  platform: {os: linux, arch: amd64}
  spec: {image: ubuntu-24.04, cpus: 4, memory: 4096, disk: {size: 40}}
  variants:
  - {variant_id: big, resource_class: large, disk_size: 80, limit: 2, kiln: {spec: {cpus: 8, memory: 16384}}}
  - {variant_id: nested, enable_nested_virtualization: true, image_name: debian-13}
  kiln:
    schedules:
    - {cron: 0 8 * * MON-FRI, time_zone: Europe/Zurich, duration: 10h, pool: 4}
    - {cron: '30 22 * * *', duration: 2h 30m, pool: 2, variant: big}
    ages: {free: 12h, busy: 2h, max: 1d}
    fallbacks: [spare, spare]
    imds: true
    docker_socket: true
    network:
      allow: [fd00::/8, 10.1.0.0/16, 10.1.0.0/16]
      allow_hosts: ['127.0.0.1:5000', 10.2.3.4:443]
- {name: spare, type: shed, limit: 2, spec: {image: ubuntu-24.04}}
",
    );
}

#[test]
fn keys_match_whatever_their_case() {
    check(
        "case",
        "Instances:\n- Name: local\n  TYPE: shed\n  Pool: 2\n  Platform: {OS: linux, Arch: arm64}\n  spec: {Image: ubuntu, Disk: {Size: 20}}\n  Kiln: {IMDS: true}\n",
    );
}

#[test]
fn an_amazon_pool() {
    check(
        "amazon",
        r#"instances:
- name: linux
  type: amazon
  pool: $WARM
  limit: 20
  platform: {os: linux, arch: arm64, os_name: amazon-linux}
  spec:
    account: {region: "${REGION}", access_key_id: AKIA, access_key_secret: $SECRET, retries: "3"}
    ami: ami-0a
    size: m7g.large
    size_alt: m6g.large
    market_type: spot
    disk: {size: "120", type: gp3}
    tags: {Team: build, Cost: 0815, price: 5$$, half: 3$}
    hibernate: yes
    user_data_Path: /etc/init
    network:
      private_ip: true
      security_groups: [sg-1]
      zone_details:
      - {availability_zone: eu-west-1a, subnet_id: subnet-a}
      - {availability_zone: eu-west-1b, subnet_id: subnet-b}
"#,
    );
}

#[test]
fn variants_and_tenants() {
    check(
        "tenants",
        r"instances:
- name: shared
  type: amazon
  pool: 1
  limit: 30
  spec:
    account: {region: eu-west-1}
    ami: ami-1
    size: t3.large
    network:
      private_ip: false
      security_groups: [sg-1, sg-2]
      zone_details: [{availability_zone: a, subnet_id: sa}, {availability_zone: b, subnet_id: sb}]
  variants:
  - {variant_id: big, resource_class: large, machine_type: m6i.4xlarge, disk_size: 200, disk_type: gp3, pool: 2, zones: [b]}
  - {variant_id: other, resource_class: x, image_name: ami-2, hibernate: true, limit: -1}
  tenants:
  - group_id: bank
    ids: [acct1, acct2]
    pool: 0
    limit: 5
    spec: {network: {private_ip: true, security_groups: [sg-9], zone_details: [{availability_zone: b, subnet_id: sx}]}}
    variants:
    - {variant_id: big, resource_class: large, machine_type: m6i.8xlarge}
    - {variant_id: own, resource_class: own}
  - ids: [acct3]
",
    );
}

/// A real file whose cloud pool names no image, which is an error.
const NO_IMAGE: &str = "drone-docs__vm_amazon.yml";

#[test]
fn the_corpus_can_be_read() {
    let Some(folder) = kiln_corpus::folder("pool") else { return };
    let files = std::fs::read_dir(&folder).expect("the corpus can be listed");
    for file in files {
        let path = file.expect("a file").path();
        let text = std::fs::read(&path).expect("its text");
        let loaded = load("pool.yml", &text, &Options { env: &variables, sections: &[&Shed, &Amazon] });
        let text = loaded.report.text(false);
        let no_image = path.ends_with(NO_IMAGE);
        assert_eq!(loaded.config.is_some(), !no_image, "{}: {text}", path.display());
        let expected = |code| {
            ["no-effect", "key-in-file", "unsupported-driver", "unsupported-platform"].contains(&code)
                || no_image && ["missing-key", "default-size"].contains(&code)
        };
        for found in &loaded.report.diagnostics {
            assert!(expected(found.code), "{}: {text}", path.display());
            assert!(no_image || found.severity < Severity::Invalid, "{}: {text}", path.display());
        }
        assert!(!text.contains("asdasdasdasd"), "secrets are not shown");
    }
}

#[test]
fn secrets_are_not_shown_in_broken_files_either() {
    for rest in ["nonsense: *x", "\tb: c", "size: [1", "access_key_secret: 'x", "a: b", "disk: {size: 1.5}"] {
        let text = format!(
            "instances:\n- name: a\n  type: amazon\n  spec:\n    ami: a\n    account: {{access_key_id: a, ACCESS_key_secret: hunter2, access_key_secert: hunter2, passwd: 'a$hunter2'}}\n    {rest}\n"
        );
        let loaded = read(&text);
        assert!(!loaded.report.source.contains("hunter2"), "{rest}: {}", loaded.report.source);
        assert!(!loaded.report.text(false).contains("hunter2"), "{rest}: {}", loaded.report.text(false));
        assert!(!loaded.report.json().contains("hunter2"));
    }
}

#[test]
fn a_changed_spec_or_platform_is_another_launch() {
    let digest = |text: &str| read(text).config.expect("a configuration").pools["a"].flavors[0].launch.digest();
    let file = |platform: &str, spec: &str| {
        format!("instances: [{{name: a, type: amazon, platform: {{{platform}}}, spec: {{ami: i, {spec}}}}}]")
    };
    let first = digest(&file("arch: amd64", "size: m6i.large, hibernate: false"));
    assert_eq!(first, digest(&file("", "Hibernate: no, SIZE: m6i.large")), "spelling and order do not matter");
    assert_ne!(first, digest(&file("arch: arm64", "size: m6i.large, hibernate: false")));
    assert_ne!(first, digest(&file("", "size: m6i.xlarge, hibernate: false")));
}
