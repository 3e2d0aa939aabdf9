//! The driver's section of the pool file: the words of a `spec` of `type: qemu`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Key, Shape as Form, Table};
use kiln_document::yaml::Node;
use kiln_pool::config::{Ages, Launch};
use kiln_pool::{Flavor, Pool, SiteId};
use kiln_pool_file::json;
use kiln_pool_file::section::{Instances, Limit, Reader, Section, Variant};
use serde_json::Value;

use crate::containers::{self, ContainerError, Wish};
use crate::driver::NAME;
use crate::limits::{CPUS, DEFAULT_SHAPE, DISK_GIB, MEMORY_MIB};
use crate::vm::machine::Shape;

/// The section.
#[derive(Debug)]
pub struct QemuSection;

static SPEC: Table = Table::closed(
    "qemu spec",
    &[
        Key::read("image", Form::Text, "image, by the name in `kiln image list`"),
        Key::read("cpus", Form::Number, "virtual processors"),
        Key::read("memory", Form::Number, "memory in MiB"),
        Key::read("disk", Form::Of(&DISK), "the root disk"),
        Key::read("preload", Form::List(&Form::Text), "container images that the VMs have from the start"),
        Key::read("host_credentials", Form::Bool, "whether those are fetched with this host's Docker credentials"),
        Key::read("registry_mirror", Form::Text, "URL of a registry that is asked first for images of Docker Hub"),
        Key::read("build_cache", Form::Text, "repository or bucket that the layers of image builds are kept in"),
        Key::read("insecure_registries", Form::List(&Form::Text), "registries that are spoken to without TLS"),
    ],
);

static DISK: Table = Table::closed("disk", &[Key::read("size", Form::Number, "smallest root disk in GiB")]);

static LIMITS: [Limit; 3] = [
    Limit { path: &["cpus"], range: wide(&CPUS), unit: "" },
    Limit { path: &["memory"], range: wide(&MEMORY_MIB), unit: "MiB" },
    Limit { path: &["disk", "size"], range: wide(&DISK_GIB), unit: "GiB" },
];

/// Switches of a variant that the driver does not carry out, and why.
const WITHOUT_EFFECT: [(&str, &str); 2] = [
    ("hibernate", "warm instances on this machine stay awake"),
    (
        "enable_nested_virtualization",
        "it sends requests to this variant, but whether its instances can run virtual machines is up to this machine's KVM",
    ),
];

const fn wide(range: &RangeInclusive<u32>) -> RangeInclusive<i64> {
    *range.start() as i64..=*range.end() as i64
}

impl Section for QemuSection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["kvm", "libvirt", "local"]
    }

    fn example(&self) -> &'static str {
        "{image: ubuntu-24.04}"
    }

    fn shape(&self) -> Form {
        Form::Of(&SPEC)
    }

    fn limits(&self) -> &'static [Limit] {
        &LIMITS
    }

    fn check(&self, spec: &Node, whole: bool, reader: &mut Reader<'_>) {
        if whole && reader.text(spec, "image").is_none() {
            let help = "`kiln image list` shows the images of this machine";
            reader.invalid("missing-key", &spec.location, "the spec names no `image`".to_owned(), help);
        }
        check_each(spec, "preload", "bad-reference", &|text| containers::parse(text).map(drop), reader);
        check_each(spec, "insecure_registries", "bad-registry", &containers::check_registry, reader);
        if let (Some(text), Some(node)) = (reader.text(spec, "build_cache"), spec.get("build_cache"))
            && let Err(error) = containers::check_build_cache(&text)
        {
            reader.push(Diagnostic::invalid("bad-build-cache", &node.location, error.to_string()));
        }
        if let (Some(url), Some(node)) = (reader.text(spec, "registry_mirror"), spec.get("registry_mirror"))
            && let Err(error) = containers::check_mirror(&url)
        {
            reader.push(Diagnostic::invalid("bad-registry", &node.location, error.to_string()));
        }
    }

    fn check_variant(&self, variant: &Node, reader: &mut Reader<'_>) {
        for (key, why) in WITHOUT_EFFECT {
            if let (Some((place, _)), Some(true)) = (variant.entry(key), reader.switch(variant, key)) {
                let message = format!("`{key}` has no effect here: {why}");
                reader.push(Diagnostic::warning("no-effect", &place.location, message).help("leave it out"));
            }
        }
        for key in ["machine_type", "disk_type", "zones"] {
            if let (Some((place, _)), Some(_)) = (variant.entry(key), variant.get(key)) {
                let message = format!("`{key}` has no effect here: instances on this machine have no such thing");
                let found = Diagnostic::warning("no-effect", &place.location, message);
                reader.push(found.help("write `kiln: {spec: {cpus: 4, memory: 8192}}` into the variant"));
            }
        }
    }

    fn check_additions(&self, own: &Node, reader: &mut Reader<'_>) {
        if let (Some((place, _)), Some(true)) = (own.entry("imds"), reader.switch(own, "imds")) {
            let message = "`imds` has no effect here: no metadata service is on this machine";
            reader.push(Diagnostic::warning("no-effect", &place.location, message).help("leave it out"));
        }
    }

    fn isolates(&self) -> bool {
        true
    }

    fn vary(&self, spec: &mut Value, variant: &Variant, _: &mut Reader<'_>) {
        if let Some(image) = &variant.image_name {
            json::put(spec, &["image"], image.as_str().into());
        }
        if let Some(size) = variant.disk_gib {
            json::put(spec, &["disk", "size"], size.into());
        }
    }

    /// What is left for the driver alone is what the VMs have beside their image.
    fn instances(&self, spec: Value) -> Instances {
        let image = json::text(&spec, "/image").unwrap_or_default();
        let shape = Shape {
            cpus: json::number(&spec, "/cpus").unwrap_or(DEFAULT_SHAPE.cpus),
            memory_mib: json::number(&spec, "/memory").unwrap_or(DEFAULT_SHAPE.memory_mib),
            disk_gib: json::number(&spec, "/disk/size").unwrap_or(DEFAULT_SHAPE.disk_gib),
        };
        // Sorted, so that the order in the file makes no other launch of it.
        let texts = |key: &str| {
            let list = spec[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            list.collect::<BTreeSet<_>>().into_iter().collect()
        };
        let text = |path| json::text(&spec, path).filter(|text| !text.is_empty()).map(str::to_owned);
        let wish = Wish {
            preload: texts("preload"),
            host_credentials: spec["host_credentials"] == Value::Bool(true),
            registry_mirror: text("/registry_mirror"),
            insecure_registries: texts("insecure_registries"),
            build_cache: text("/build_cache"),
        };
        Instances { launch: Launch { spec: wish.to_spec(), ..launch(image, shape) }, hibernate: false }
    }
}

/// Reports each text of a list that a check refuses.
fn check_each(
    spec: &Node,
    key: &str,
    code: &'static str,
    check: &dyn Fn(&str) -> Result<(), ContainerError>,
    reader: &mut Reader<'_>,
) {
    for item in spec.get(key).and_then(Node::items).unwrap_or_default() {
        if let Some(Err(error)) = item.text().map(check) {
            reader.push(Diagnostic::invalid(code, &item.location, error.to_string()));
        }
    }
}

fn launch(image: &str, shape: Shape) -> Launch {
    let Shape { cpus, memory_mib, disk_gib } = shape;
    Launch { image: image.to_owned(), cpus, memory_mib, disk_gib, ..Launch::default() }
}

/// Returns a pool of local VMs without a pool file: `name` is its name, and it keeps nothing warm.
#[must_use]
pub fn pool(name: &str, image: &str, shape: Shape, limit: u32) -> Pool {
    let flavor = Flavor {
        key: name.to_owned(),
        variant: None,
        tenant: None,
        resource_class: None,
        nested_virtualization: false,
        warm: 0,
        limit: None,
        hibernate: false,
        places: Vec::new(),
        launch: launch(image, shape),
    };
    Pool {
        name: name.to_owned(),
        driver: NAME.to_owned(),
        site: SiteId::new(NAME),
        os: "linux".to_owned(),
        arch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        limit,
        flavors: vec![flavor],
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
        docker_socket: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_driver::LaunchRequest;
    use kiln_pool_file::amazon::Amazon;
    use kiln_pool_file::conformance::{breaches, disagreements};
    use kiln_pool_file::{Options, load};

    use super::*;
    use crate::clone::book;

    const DOCUMENTATION: &str = include_str!("../../../docs/pool-file.md");

    /// What the driver says before it does anything.
    fn takes(launch: &Launch) -> bool {
        let request = LaunchRequest {
            token: "a".to_owned(),
            count: 1,
            place: String::new(),
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            image: launch.image.clone(),
            cpus: launch.cpus,
            memory_mib: launch.memory_mib,
            disk_gib: launch.disk_gib,
            labels: BTreeMap::new(),
        };
        book::check(&request).is_ok()
    }

    #[test]
    fn the_pool_file_and_the_launch_agree() {
        assert_eq!(breaches(&QemuSection, DOCUMENTATION), [""; 0]);
        assert_eq!(disagreements(&QemuSection, &takes), [""; 0]);
    }

    /// Files that were once good and whose every launch failed.
    #[test]
    fn what_no_launch_can_have_is_refused_in_the_file() {
        for (keys, code) in [("cpus: 128", "out-of-range"), ("memory: 200", "out-of-range"), ("cpus: 64", "")] {
            let text = format!("instances: [{{name: a, type: qemu, spec: {{image: i, {keys}}}}}]");
            let loaded = load("pool.yml", text.as_bytes(), &Options { env: &|_| None, sections: &[&QemuSection] });
            let codes: String = loaded.report.diagnostics.iter().map(|found| found.code).collect();
            assert_eq!(codes, code, "{keys}: {}", loaded.report.text(false));
            assert_eq!(loaded.is_ok(), code.is_empty());
        }
    }

    #[test]
    fn what_vms_have_beside_their_image_goes_to_the_driver() {
        for (keys, code, expect) in [
            ("preload: [b, a, a]", "", r#"{"preload":["a","b"]}"#),
            ("preload: [], host_credentials: no", "", "null"),
            ("host_credentials: yes, preload: [a]", "", r#"{"host_credentials":true,"preload":["a"]}"#),
            ("registry_mirror: 'http://10.0.2.2:5000'", "", r#"{"registry_mirror":"http://10.0.2.2:5000"}"#),
            ("insecure_registries: ['r:5000']", "", r#"{"insecure_registries":["r:5000"]}"#),
            ("build_cache: r.example/cache", "", r#"{"build_cache":"r.example/cache"}"#),
            ("preload: [A]", "bad-reference", ""),
            ("preload: a", "wrong-type", ""),
            ("registry_mirror: r:5000", "bad-registry", ""),
            ("insecure_registries: [http://r]", "bad-registry", ""),
            ("build_cache: r.example/cache:1", "bad-build-cache", ""),
        ] {
            let text = format!("instances: [{{name: a, type: qemu, spec: {{image: i, {keys}}}}}]");
            let loaded = load("pool.yml", text.as_bytes(), &Options { env: &|_| None, sections: &[&QemuSection] });
            let codes: String = loaded.report.diagnostics.iter().map(|found| found.code).collect();
            assert_eq!(codes, code, "{keys}: {}", loaded.report.text(false));
            let Some(config) = loaded.config else { continue };
            let (_, flavor) = config.flavor("a").expect("the base");
            assert_eq!(flavor.launch.spec.to_string(), expect, "{keys}");
            assert!(Wish::of(&flavor.launch.spec).is_ok());
        }
    }

    #[test]
    fn switches_that_the_driver_does_not_carry_out_are_warned_about() {
        let variant = "variants: [{variant_id: v, resource_class: large, KEY}]";
        for (keys, codes) in [
            (variant.replace("KEY", "hibernate: true"), "no-effect"),
            (variant.replace("KEY", "hibernate: false"), ""),
            (variant.replace("KEY", "enable_nested_virtualization: yes"), "no-effect"),
            ("kiln: {imds: true}".to_owned(), "no-effect"),
            ("kiln: {imds: false}".to_owned(), ""),
        ] {
            let text = format!("instances: [{{name: a, type: qemu, spec: {{image: i}}, {keys}}}]");
            let loaded = load("pool.yml", text.as_bytes(), &Options { env: &|_| None, sections: &[&QemuSection] });
            let found: String = loaded.report.diagnostics.iter().map(|found| found.code).collect();
            assert_eq!(found, codes, "{keys}: {}", loaded.report.text(false));
            assert!(loaded.is_ok(), "{keys}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let launch = QemuSection.instances(serde_json::json!({"image": "i"})).launch;
        assert_eq!(launch, super::launch("i", DEFAULT_SHAPE));
        for (key, default, range) in [
            ("cpus", DEFAULT_SHAPE.cpus, CPUS),
            ("memory", DEFAULT_SHAPE.memory_mib, MEMORY_MIB),
            ("disk.size", DEFAULT_SHAPE.disk_gib, DISK_GIB),
        ] {
            let start = format!("| `{key}` | {default} |");
            let line = DOCUMENTATION.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
            let limits = format!(", {} to {} |", range.start(), range.end());
            assert!(line.ends_with(&limits), "docs/pool-file.md says of {key}: {line}");
        }
    }

    #[test]
    fn without_a_file_there_is_one_local_pool() {
        let pool = super::pool("local", "ubuntu", Shape { cpus: 4, ..DEFAULT_SHAPE }, 3);
        let flavor = pool.flavor("local").expect("the base");
        assert_eq!((pool.driver.as_str(), pool.limit, flavor.warm), ("qemu", 3, 0));
        assert!(takes(&flavor.launch));
    }

    #[test]
    fn the_examples_of_the_documentation_are_good() {
        let blocks = DOCUMENTATION.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut read = 0;
        for block in blocks {
            let whole = match block.starts_with("instances:") {
                true => block.to_owned(),
                false => format!(
                    "instances:\n- name: linux-spare\n  type: qemu\n  spec: {{image: a}}\n- name: a\n  type: qemu\n  \
                     spec: {{image: a}}\n  variants: [{{variant_id: big}}]\n{block}"
                ),
            };
            let env = |_: &str| Some("eu-west-1".to_owned());
            let sections: [&dyn Section; 2] = [&QemuSection, &Amazon];
            let loaded = load("pool.yml", whole.as_bytes(), &Options { env: &env, sections: &sections });
            assert!(loaded.is_ok() && loaded.report.diagnostics.is_empty(), "{}", loaded.report.text(false));
            read += 1;
        }
        assert_eq!(read, 4);
    }
}
