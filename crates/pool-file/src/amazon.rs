//! The section of EC2. Its driver does not exist yet: its pools are checked, shown, and reported as unsupported unless
//! the caller says that it has the driver.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::{Credentials, Launch};
use serde_json::Value;

use crate::json;
use crate::section::{Instances, Limit, Platform, Reader, Section, Variant};

/// Default size of the root disk in GiB; the incumbent's.
const DEFAULT_DISK_GIB: u32 = 32;
/// Largest volume, in GiB.
const MAX_DISK_GIB: i64 = 64 * 1024;
/// Most operations per second of any volume.
const MAX_IOPS: i64 = 256_000;
/// Most attempts of a call. A greater number is a slip.
const MAX_RETRIES: i64 = 100;

/// Keys of the account that determine who launches, but not the instance.
const CREDENTIALS: [&str; 3] = ["access_key_id", "access_key_secret", "aws_session_token"];

/// The section of EC2.
#[derive(Debug)]
pub struct Amazon;

/// The spec.
static SPEC: Table = Table::closed(
    "amazon spec",
    &[
        Key::read("account", Shape::Of(&ACCOUNT), "region and keys"),
        Key::read("ami", Shape::Text, "`ami-...`, or the name of an image"),
        Key::read("size", Shape::Text, "instance type"),
        Key::read("size_alt", Shape::Text, "instance type to turn to"),
        Key::read("market_type", Shape::OpenEnum(&["spot", "on-demand"]), "how instances are bought"),
        Key::read("vpc", Shape::Text, "where a security group is made when none is named"),
        Key::read("network", Shape::Of(&NETWORK), "subnets and security groups"),
        Key::read("zone_details", Shape::List(&Shape::Of(&ZONE)), "the same in `network` is to be preferred"),
        Key::read("disk", Shape::Of(&DISK), "the root disk"),
        Key::read("device_name", Shape::Text, "device of the root disk"),
        Key::read("iam_profile_arn", Shape::Text, "instance profile"),
        Key::read("tags", Shape::Map(&Shape::Text), "tags of instances"),
        Key::read("hibernate", Shape::Bool, "whether warm instances sleep"),
        Key::no_effect("user_data", Shape::Text, USER_DATA),
        Key::no_effect("user_data_path", Shape::Text, USER_DATA),
        Key::no_effect("root_directory", Shape::Text, "the agent chooses where it keeps its files"),
        Key::no_effect("user", Shape::Text, "nobody logs in to an instance"),
        Key::no_effect("name", Shape::Text, "instances are named after their pool and id"),
        Key::no_effect("type", Shape::Text, "`size` is the instance type"),
        Key::no_effect("enable_c4d", Shape::Any, "disks that belong to the host are not mounted"),
    ],
);

const USER_DATA: &str = "instances start with what Kiln writes; put what the script did into the image";

/// Region and keys.
static ACCOUNT: Table = Table::closed(
    "account",
    &[
        Key::read("region", Shape::Text, "region"),
        Key::read("access_key_id", Shape::Text, "id of an access key"),
        Key::read("access_key_secret", Shape::Text, "its secret"),
        Key::read("aws_session_token", Shape::Text, "its session"),
        Key::read("availability_zone", Shape::Text, "`network.zone_details` is to be preferred"),
        Key::read("key_pair_name", Shape::Text, "key for SSH"),
        Key::read("retries", Shape::Number, "attempts of each call"),
    ],
);

/// Subnets and security groups.
static NETWORK: Table = Table::closed(
    "network",
    &[
        Key::read("security_groups", Shape::List(&Shape::Text), "ids of security groups"),
        Key::read("subnet_id", Shape::Text, "`zone_details` is to be preferred"),
        Key::read("private_ip", Shape::Bool, "whether instances are reached at their private address"),
        Key::read("zone_details", Shape::List(&Shape::Of(&ZONE)), "a subnet for each zone"),
        Key::no_effect("vpc_security_group_ids", Shape::Any, "write the groups as `security_groups`"),
    ],
);

/// A subnet and its zone.
static ZONE: Table = Table::closed(
    "zone",
    &[Key::read("availability_zone", Shape::Text, "zone"), Key::read("subnet_id", Shape::Text, "subnet in it")],
);

/// The root disk.
static DISK: Table = Table::closed(
    "disk",
    &[
        Key::read("size", Shape::Number, "size in GiB"),
        Key::read("type", Shape::Text, "gp2, gp3, io1, io2"),
        Key::read("iops", Shape::Number, "operations in a second"),
        Key::read("kms_key_id", Shape::Text, "key that it is encrypted with"),
        Key::read("tags", Shape::Map(&Shape::Text), "tags of the volume"),
    ],
);

static TABLES: [&Table; 5] = [&SPEC, &ACCOUNT, &NETWORK, &ZONE, &DISK];

static LIMITS: [Limit; 3] = [
    Limit { path: &["disk", "size"], range: 0..=MAX_DISK_GIB, unit: "GiB" },
    Limit { path: &["disk", "iops"], range: 0..=MAX_IOPS, unit: "" },
    Limit { path: &["account", "retries"], range: 0..=MAX_RETRIES, unit: "" },
];

impl Section for Amazon {
    fn name(&self) -> &'static str {
        "amazon"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["aws", "ec2"]
    }

    fn example(&self) -> &'static str {
        "{ami: ami-1, size: m6i.large}"
    }

    fn shape(&self) -> Shape {
        Shape::Of(&SPEC)
    }

    fn incumbent_tables(&self) -> &'static [&'static Table] {
        &TABLES
    }

    fn limits(&self) -> &'static [Limit] {
        &LIMITS
    }

    fn check(&self, spec: &Node, whole: bool, reader: &mut Reader<'_>) {
        if whole {
            complete(spec, reader);
        }
        if let Some(account) = spec.get("account") {
            keys(account, whole, reader);
        }
        zones(spec, reader);
        for (key, what) in [
            ("size_alt", "instances of this type are launched when there are none of `size`"),
            ("market_type", "instances are bought as it says"),
            ("device_name", "the root disk is this device"),
        ] {
            if let (Some((place, _)), Some(_)) = (spec.entry(key), reader.text(spec, key)) {
                let message = format!("drone-runner-aws ignores `{key}`, Kiln does not: {what}");
                reader.push(Diagnostic::note("carried-out", &place.location, message));
            }
        }
    }

    /// Adds the platform, and the incumbent's default instance type.
    fn complete(&self, spec: &mut Value, platform: &Platform) {
        if !spec.is_object() {
            return;
        }
        let Platform { os, arch, os_name } = platform;
        let os_name = os_name.as_deref().unwrap_or("ubuntu");
        json::put(spec, &["platform"], serde_json::json!({"os": os, "arch": arch, "os_name": os_name}));
        if json::text(spec, "/size").is_none() {
            let size = if arch == "arm64" { "a1.medium" } else { "t3.nano" };
            json::put(spec, &["size"], size.into());
        }
    }

    fn vary(&self, spec: &mut Value, variant: &Variant, reader: &mut Reader<'_>) {
        let texts: [(&Option<String>, &[&str]); 3] = [
            (&variant.image_name, &["ami"]),
            (&variant.machine_type, &["size"]),
            (&variant.disk_type, &["disk", "type"]),
        ];
        for (text, path) in texts {
            if let Some(text) = text {
                json::put(spec, path, text.as_str().into());
            }
        }
        if let Some(size) = variant.disk_gib {
            json::put(spec, &["disk", "size"], size.into());
        }
        if let Some(hibernate) = variant.hibernate {
            json::put(spec, &["hibernate"], hibernate.into());
        }
        if !variant.zones.is_empty() {
            keep_zones(spec, variant, reader);
        }
    }

    /// Keeps the whole spec for the driver, except the credentials.
    fn instances(&self, mut spec: Value) -> Instances {
        let credentials = Credentials::taken(spec.get_mut("account"), &CREDENTIALS);
        let launch = Launch {
            image: json::text(&spec, "/ami").unwrap_or_default().to_owned(),
            cpus: 0,
            memory_mib: 0,
            disk_gib: json::number(&spec, "/disk/size").unwrap_or(DEFAULT_DISK_GIB),
            credentials,
            spec,
            ..Launch::default()
        };
        let hibernate = launch.spec.pointer("/hibernate").and_then(Value::as_bool).unwrap_or(false);
        Instances { launch, hibernate }
    }
}

/// Reports missing keys of a pool's spec.
fn complete(spec: &Node, reader: &mut Reader<'_>) {
    if reader.text(spec, "ami").is_none() {
        let help = "write `ami: ami-...`, or the name of an image in your account";
        reader.invalid("missing-key", &spec.location, "the spec names no `ami`".to_owned(), help);
    }
    if reader.text(spec, "size").is_none() {
        let message = "the spec names no `size`: instances are `t3.nano`, or `a1.medium` for arm64".to_owned();
        let help = "these have half a GiB and 2 GiB of memory: write an instance type such as `size: m6i.large`";
        reader.warn("default-size", &spec.location, message, help);
    }
}

/// Reports half a pair of access keys, and keys written in the file itself.
fn keys(account: &Node, whole: bool, reader: &mut Reader<'_>) {
    let pair = ["access_key_id", "access_key_secret"].map(|key| reader.text(account, key).is_some());
    if whole && pair[0] != pair[1] {
        let message = "`access_key_id` and `access_key_secret` belong together, and one of them is missing".to_owned();
        let help = "write both, or none: the keys of the environment or of the instance profile are used then";
        reader.invalid("half-a-key", &account.location, message, help);
    }
    for key in ["access_key_secret", "aws_session_token"] {
        let Some(value) = account.get(key).filter(|value| value.text().is_some_and(|text| !text.is_empty())) else {
            continue;
        };
        if !reader.is_substituted(value) {
            let message = format!("`{key}` is in the file, where everybody who can read the file can use it");
            let help = "leave the keys out to use an instance profile or the environment (`AMAZON_ACCESS_KEY_ID`, \
                        `AMAZON_ACCESS_KEY_SECRET`), or write `$NAME` to take one from the environment, which drone-runner-aws does not";
            reader.warn("key-in-file", &value.location, message, help);
        }
    }
}

fn zones(spec: &Node, reader: &mut Reader<'_>) {
    let lists = [Some(spec), spec.get("network")].map(|node| node.and_then(|node| node.get("zone_details")));
    for zone in lists.into_iter().flatten().flat_map(|list| list.items().unwrap_or_default()) {
        for key in ["availability_zone", "subnet_id"] {
            if zone.entries().is_some() && reader.text(zone, key).is_none() {
                let message = format!("an item of `zone_details` has no `{key}`");
                let help = "write `{availability_zone: eu-west-1a, subnet_id: subnet-...}`";
                reader.invalid("missing-key", &zone.location, message, help);
            }
        }
    }
}

/// Leaves only the subnets in the variant's zones.
fn keep_zones(spec: &mut Value, variant: &Variant, reader: &mut Reader<'_>) {
    let list = ["/network/zone_details", "/zone_details"].into_iter().find(|list| spec.pointer(list).is_some());
    let Some(Value::Array(subnets)) = list.and_then(|list| spec.pointer_mut(list)) else {
        let message =
            format!("`zones` of the variant `{}` has no effect: the pool's spec has no `zone_details`", variant.id);
        let help = "list a subnet for each zone under `spec.network.zone_details`";
        return reader.warn("no-effect", &variant.location, message, help);
    };
    let zone_of = |subnet: &Value| json::text(subnet, "/availability_zone").unwrap_or_default().to_owned();
    let known: Vec<String> = subnets.iter().map(zone_of).collect();
    if let Some(missing) = variant.zones.iter().find(|zone| !known.contains(zone)) {
        let message =
            format!("the variant `{}` asks for the zone `{missing}`, of which there is no subnet", variant.id);
        let help = format!("`zone_details` has: {}", known.join(", "));
        return reader.invalid("unknown-zone", &variant.location, message, &help);
    }
    subnets.retain(|subnet| variant.zones.contains(&zone_of(subnet)));
}
