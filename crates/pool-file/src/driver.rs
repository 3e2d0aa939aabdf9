//! The drivers that a file can name, and what each makes of its spec.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Shape, Table, did_you_mean};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use serde_json::Value;

use crate::reader::{Reader, Words};
use crate::variant::Variant;
use crate::{amazon, json, qemu};

/// A driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Instances on this machine.
    Qemu,
    /// EC2.
    Amazon,
    /// One of the incumbent's that we do not have; its spec is not looked at.
    Other,
}

/// The incumbent's drivers that we do not have, and the way out.
const OTHERS: &[(&str, &str)] = &[
    ("google", CLOUD),
    ("azure", CLOUD),
    ("digitalocean", CLOUD),
    ("nomad", CLOUD),
    ("anka", MAC),
    ("ankabuild", MAC),
    ("vmfusion", MAC),
    ("noop", "for instances without a cloud use `type: qemu`, which makes them on this machine"),
];

const CLOUD: &str = "move the pool to a driver of this release ({ours}), or leave it with drone-runner-aws and remove it from this file";
const MAC: &str =
    "instances of macOS are not possible yet: leave the pool with drone-runner-aws and remove it from this file";

/// Other names, and what is meant.
const ALIASES: &[(&str, &str)] = &[
    ("aws", "amazon"),
    ("ec2", "amazon"),
    ("gcp", "google"),
    ("gce", "google"),
    ("do", "digitalocean"),
    ("kvm", "qemu"),
    ("libvirt", "qemu"),
    ("local", "qemu"),
];

/// The drivers that a file can name in this release.
pub(crate) fn ours_of(reader: &Reader<'_>) -> String {
    let has = |driver: &&str| reader.drivers.is_none_or(|drivers| drivers.contains(driver));
    let ours: Vec<String> = ["amazon", "qemu"].iter().filter(|d| has(d)).map(|driver| format!("`{driver}`")).collect();
    ours.join(", ")
}

impl Driver {
    /// The driver of a `type`; none when there is no such driver, which is told.
    pub fn of(node: &Node, name: &str, reader: &mut Reader<'_>) -> Option<Driver> {
        let ours = match name {
            "qemu" => Some(Driver::Qemu),
            "amazon" => Some(Driver::Amazon),
            _ => None,
        };
        let has = |driver: &str| reader.drivers.is_none_or(|drivers| drivers.contains(&driver));
        if let Some(driver) = ours {
            if !has(name) {
                let message = format!("the {name} driver is not part of this release");
                let help = match reader.drivers {
                    Some(drivers) if !drivers.is_empty() => format!("drivers of this release: {}", drivers.join(", ")),
                    _ => "leave the pool with drone-runner-aws and remove it from this file".to_owned(),
                };
                reader.push(Diagnostic::unsupported("unsupported-driver", &node.location, message).help(help));
            }
            return Some(driver);
        }
        if let Some((_, help)) = OTHERS.iter().find(|(other, _)| *other == name) {
            let message = format!("there is no {name} driver yet");
            let help = help.replace("{ours}", &ours_of(reader));
            reader.push(Diagnostic::unsupported("unsupported-driver", &node.location, message).help(help));
            return Some(Driver::Other);
        }
        let meant = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let known = ["amazon", "qemu"].into_iter().chain(OTHERS.iter().map(|(other, _)| *other));
        let mut found = Diagnostic::invalid("unknown-type", &node.location, format!("`type` cannot be `{name}`"));
        found.help = match meant {
            Some((_, meant)) => Some(format!("did you mean `{meant}`?")),
            None => did_you_mean(name, known),
        };
        reader.push(found);
        None
    }

    fn table(self) -> Option<&'static Table> {
        match self {
            Driver::Qemu => Some(&qemu::SPEC),
            Driver::Amazon => Some(&amazon::SPEC),
            Driver::Other => None,
        }
    }

    /// Reads a spec, whole or partial, as JSON.
    pub fn spec(self, node: &Node, whole: bool, reader: &mut Reader<'_>) -> Value {
        /// Larger than any spec; it is stored with each kind of instance.
        const MAX_SPEC_BYTES: usize = 32 * 1024;
        let spec = match self.table() {
            None => node.to_json(),
            Some(table) => {
                let Some(checked) = reader.checked(node, table, Words::Incumbent) else { return Value::Null };
                match self {
                    Driver::Qemu => qemu::check(&checked, whole, reader),
                    Driver::Amazon => amazon::check(&checked, whole, reader),
                    Driver::Other => {}
                }
                json::of(&checked, &Shape::Of(table))
            }
        };
        if spec.to_string().len() > MAX_SPEC_BYTES {
            let message = format!("the `spec` has more than {MAX_SPEC_BYTES} bytes");
            reader.invalid("spec-too-large", &node.location, message, "put what is large into the image");
            return Value::Null;
        }
        spec
    }

    /// A pool's spec with what only the pool as a whole says, for drivers that keep their spec: the platform, and the
    /// instance type that the incumbent falls back to.
    pub fn completed(self, mut spec: Value, os: &str, arch: &str, os_name: &Option<String>) -> Value {
        if self == Driver::Amazon && spec.is_object() {
            let os_name = os_name.as_deref().unwrap_or("ubuntu");
            json::put(&mut spec, &["platform"], serde_json::json!({"os": os, "arch": arch, "os_name": os_name}));
            if json::text(&spec, "/size").is_none() {
                let size = if arch == "arm64" { "a1.medium" } else { "t3.nano" };
                json::put(&mut spec, &["size"], size.into());
            }
        }
        spec
    }

    /// The pool's spec with what a variant says laid over it.
    pub fn varied(self, base: &Value, variant: &Variant, reader: &mut Reader<'_>) -> Value {
        let mut spec = base.clone();
        match self {
            Driver::Qemu => qemu::vary(&mut spec, variant),
            Driver::Amazon => amazon::vary(&mut spec, variant, reader),
            Driver::Other => {}
        }
        if let Some(own) = &variant.spec {
            json::merge(&mut spec, own);
        }
        spec
    }

    /// Tells about keys of a variant that the driver has no use for.
    pub fn check_variant(self, node: &Node, reader: &mut Reader<'_>) {
        if self == Driver::Qemu {
            qemu::check_variant(node, reader);
        }
    }

    /// Whether the spec asks for warm instances that sleep.
    pub fn hibernates(self, spec: &Value) -> bool {
        spec.pointer("/hibernate").and_then(Value::as_bool).unwrap_or(false)
    }

    /// What is launched for a spec.
    pub fn launch(self, spec: Value) -> Launch {
        match self {
            Driver::Qemu => qemu::launch(&spec),
            Driver::Amazon => amazon::launch(spec),
            Driver::Other => Launch { spec, ..Launch::default() },
        }
    }
}
