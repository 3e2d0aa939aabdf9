//! The keys of the file, except those of the drivers' specs.

use kiln_document::schema::{Key, Shape, Table};

/// Tables of the incumbent's keys, for saying where a misplaced key belongs.
pub(crate) const INCUMBENT: &[&Table] = &[&FILE, &INSTANCE, &PLATFORM, &VARIANT, &TENANT];

/// The file as a whole.
pub(crate) static FILE: Table = Table::closed(
    "pool file",
    &[
        Key::describes("version"),
        Key::read("instances", Shape::List(&Shape::Of(&INSTANCE)), "the pools"),
        Key::read("kiln", Shape::Any, "times that hold for all pools"),
    ],
);

/// One pool.
pub(crate) static INSTANCE: Table = Table::closed(
    "pool",
    &[
        Key::read("name", Shape::Text, "name, which requests give"),
        Key::no_effect("default", Shape::Bool, "each request names its pool"),
        Key::read("type", Shape::Text, "the driver"),
        Key::read("pool", Shape::Number, "instances that are kept ready"),
        Key::read("limit", Shape::Number, "most instances at once"),
        Key::read("platform", Shape::Of(&PLATFORM), "operating system and architecture"),
        Key::read("spec", Shape::Any, "what only the driver understands"),
        Key::no_effect("variant_id", Shape::Text, "a request gets the base when no variant fits it, whatever its name"),
        Key::read("variants", Shape::List(&Shape::Of(&VARIANT)), "other kinds of instances of this pool"),
        Key::read("tenants", Shape::List(&Shape::Of(&TENANT)), "accounts that get instances of their own"),
        Key::read("kiln", Shape::Any, "what the incumbent does not have"),
    ],
);

/// Operating system and architecture.
pub(crate) static PLATFORM: Table = Table::closed(
    "platform",
    &[
        Key::read("os", Shape::Enum(&["linux", "windows", "darwin"]), "operating system"),
        Key::read("arch", Shape::Enum(&["amd64", "arm64"]), "processor architecture"),
        Key::read("os_name", Shape::OpenEnum(&["ubuntu", "amazon-linux"]), "distribution"),
        Key::no_effect("variant", Shape::Text, "the image decides"),
        Key::no_effect("version", Shape::Text, "the image decides"),
    ],
);

/// Another kind of instance of a pool.
pub(crate) static VARIANT: Table = Table::closed(
    "variant",
    &[
        Key::read("variant_id", Shape::Text, "its name"),
        Key::read("pool", Shape::Number, "instances that are kept ready"),
        Key::read("limit", Shape::Number, "most instances of this kind at once"),
        Key::read("image_name", Shape::Text, "its image"),
        Key::read("machine_type", Shape::Text, "its machine type"),
        Key::read("disk_size", Shape::Number, "its disk in GiB"),
        Key::read("disk_type", Shape::Text, "the type of its disk"),
        Key::read("zones", Shape::List(&Shape::Text), "where its instances may be"),
        Key::read("hibernate", Shape::Bool, "whether warm ones sleep"),
        Key::read("enable_nested_virtualization", Shape::Bool, "whether they run virtual machines themselves"),
        Key::read("resource_class", Shape::Text, "requests with this class get it"),
        Key::no_effect("gpu", Shape::Any, "choose a machine type that has graphics processors"),
        Key::read("kiln", Shape::Any, "what the incumbent does not have"),
    ],
);

/// Accounts that get instances of their own.
pub(crate) static TENANT: Table = Table::closed(
    "tenant",
    &[
        Key::read("group_id", Shape::Text, "name of the group"),
        Key::read("ids", Shape::List(&Shape::Text), "the accounts"),
        Key::read("pool", Shape::Number, "instances that are kept ready for it"),
        Key::read("limit", Shape::Number, "most instances of its base at once"),
        Key::read("spec", Shape::Any, "laid over the pool's"),
        Key::read("variants", Shape::List(&Shape::Of(&VARIANT)), "its variants, by name in place of the pool's"),
    ],
);

/// Our additions to a pool.
pub(crate) static ADDITIONS: Table = Table::closed(
    "pool's `kiln`",
    &[
        Key::read("schedules", Shape::List(&Shape::Of(&SCHEDULE)), "how many instances are kept ready at which times"),
        Key::read("ages", Shape::Of(&AGES), "how old instances may get"),
        Key::read("fallbacks", Shape::List(&Shape::Text), "pools to turn to when this one cannot serve"),
        Key::read("imds", Shape::Bool, "whether steps may reach the cloud's metadata service"),
        Key::read(
            "docker_socket",
            Shape::Bool,
            "whether containers see the engine's socket, and so are root in the VM",
        ),
        Key::read("network", Shape::Of(&NETWORK), "what instances may reach beside the public internet"),
    ],
);

/// What instances may reach.
pub(crate) static NETWORK: Table = Table::closed(
    "`network`",
    &[
        Key::read("isolation", Shape::Bool, "whether only public addresses are open"),
        Key::read("allow", Shape::List(&Shape::Text), "networks that are open as a whole"),
        Key::read("allow_hosts", Shape::List(&Shape::Text), "addresses that are open at one port"),
    ],
);

/// One schedule.
pub(crate) static SCHEDULE: Table = Table::closed(
    "schedule",
    &[
        Key::read("cron", Shape::Text, "when it begins: minute, hour, day, month, weekday"),
        Key::read("time_zone", Shape::Text, "a name of the IANA database"),
        Key::read("duration", Shape::Duration, "how long it holds from each begin on"),
        Key::read("pool", Shape::Number, "instances that are kept ready meanwhile"),
        Key::read("variant", Shape::Text, "the variant that it is for"),
    ],
);

/// Greatest ages of instances.
pub(crate) static AGES: Table = Table::closed(
    "`ages`",
    &[
        Key::read("free", Shape::Duration, "a warm instance is replaced at this age"),
        Key::read("busy", Shape::Duration, "a stage without a timeout of its own ends at this age of its claim"),
        Key::read("max", Shape::Duration, "no instance gets older"),
    ],
);

/// Our additions to a variant.
pub(crate) static VARIANT_ADDITIONS: Table =
    Table::closed("variant's `kiln`", &[Key::read("spec", Shape::Any, "laid over the pool's spec")]);

/// Times that hold for all pools.
pub(crate) static TIMING: Table = Table::closed(
    "`kiln`",
    &[
        Key::read("boot_timeout", Shape::Duration, "an instance whose agent does not answer by then is given up"),
        Key::read("launch_timeout", Shape::Duration, "a launch whose outcome is not known by then is given up"),
        Key::read("unreachable_after", Shape::Duration, "a warm instance not reached for so long is replaced"),
        Key::read("vanished_after", Shape::Duration, "an instance that no listing shows for so long is lost"),
        Key::read("unattended_after", Shape::Duration, "a stage that no client came for in so long is ended"),
        Key::read("surplus_after", Shape::Duration, "a warm instance too many is ended after so long"),
        Key::read("launches_at_once", Shape::Number, "launches that may be under way at once"),
    ],
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amazon::Amazon;
    use crate::section::Section as _;

    #[test]
    fn the_documentation_names_all_keys() {
        let text = include_str!("../../../docs/pool-file.md");
        let ours: &[&Table] = &[&ADDITIONS, &NETWORK, &SCHEDULE, &AGES, &VARIANT_ADDITIONS, &TIMING];
        for table in INCUMBENT.iter().chain(Amazon.incumbent_tables()).chain(ours) {
            for key in table.keys {
                let named =
                    text.split('`').skip(1).step_by(2).flat_map(|code| code.split(['.', ' ', ',', '{', '}', ':']));
                assert!(named.into_iter().any(|word| word == key.name), "`{}` of {}", key.name, table.name);
            }
        }
    }
}
