//! Kiln's own additions: the `kiln` mappings of the file and of each pool.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kiln_document::diagnostic::{Diagnostic, Severity};
use kiln_document::schema::{Shape, did_you_mean};
use kiln_document::yaml::Node;
use kiln_pool::config::Ages;
use kiln_pool::schedule::{Schedule, ScheduleError};
use kiln_pool::{Network, Pool, Timing};

use crate::reader::{Reader, Words, spoken};
use crate::section::Section;
use crate::{network, tables, variant};

/// Sensible ages and times, in seconds.
const AGES_S: RangeInclusive<u64> = 60..=366 * 86_400;
const TIMES_S: RangeInclusive<u64> = 1..=86_400;
/// Most concurrent launches. More of them would only be throttled.
const MAX_LAUNCHES_AT_ONCE: i64 = 1000;

/// Most schedules and fallbacks of a pool. Each pass visits all of them.
const MAX_SCHEDULES: usize = 100;
const MAX_FALLBACKS: usize = 32;

/// The additions of one pool.
#[derive(Default)]
pub(crate) struct OfPool {
    pub schedules: Vec<Schedule>,
    pub ages: Ages,
    pub fallbacks: Vec<String>,
    pub imds: bool,
    pub docker_socket: bool,
    pub network: Network,
}

/// Reads the additions of the pool `name`.
pub(crate) fn of_pool(
    pool: &Node,
    name: &str,
    pools: &[&str],
    variants: &[variant::Entry],
    limit: u32,
    section: &dyn Section,
    reader: &mut Reader<'_>,
) -> OfPool {
    let checked = pool.get("kiln").and_then(|own| reader.checked(own, &Shape::Of(&tables::ADDITIONS), Words::Kiln));
    let Some(own) = checked else { return OfPool::default() };
    section.check_additions(&own, reader);
    let schedules = reader
        .few(&own, "schedules", MAX_SCHEDULES)
        .iter()
        .filter_map(|node| schedule(node, variants, limit, reader))
        .collect();
    let ages = own.get("ages").map_or_else(Ages::default, |node| ages(node, reader));
    let fallbacks = fallbacks(&own, name, pools, reader);
    let imds = reader.switch(&own, "imds").unwrap_or_default();
    let docker_socket = reader.switch(&own, "docker_socket").unwrap_or_default();
    let network = network::of_pool(&own, section, reader);
    OfPool { schedules, ages, fallbacks, imds, docker_socket, network }
}

fn schedule(node: &Node, variants: &[variant::Entry], limit: u32, reader: &mut Reader<'_>) -> Option<Schedule> {
    node.entries()?;
    for (key, help) in [
        ("cron", "write its start:  `cron: 0 8 * * MON-FRI`"),
        ("duration", "write its duration after each start:  `duration: 10h`"),
        ("pool", "write the number of instances to keep ready:  `pool: 5`"),
    ] {
        if node.get(key).is_none() {
            reader.invalid("missing-key", &node.location, format!("a schedule has no `{key}`"), help);
        }
    }
    let variant = reader.text(node, "variant");
    let unknown = variant.as_ref().filter(|written| !variants.iter().any(|variant| variant.words.id == **written));
    if let (Some(written), Some(value)) = (unknown, node.get("variant")) {
        let message = format!("the pool has no variant `{written}`");
        let mut found = Diagnostic::invalid("unknown-variant", &value.location, message);
        found.help = did_you_mean(written, variants.iter().map(|variant| variant.words.id.as_str()));
        reader.push(found);
    }
    let warm = reader.instances(node, "pool")?;
    if let (true, Some(value)) = (warm > limit, node.get("pool")) {
        let message = format!("{warm} instances are to be kept ready, but the pool's limit is {limit}");
        reader.warn("limit-below-pool", &value.location, message, "raise the pool's `limit`, or keep fewer ready");
    }
    let duration_s = reader.seconds(node, "duration", 0..=u64::from(u32::MAX))?;
    let zone = reader.text(node, "time_zone").unwrap_or_else(|| "UTC".to_owned());
    let cron = reader.text(node, "cron")?;
    match Schedule::new(&cron, &zone, duration_s, warm, variant) {
        Ok(schedule) => {
            if let (false, Some(place)) = (schedule.ever_begins(), node.get("cron")) {
                let message = format!("`{cron}` never matches: no month has such a day");
                reader.warn("never-begins", &place.location, message, "correct day and month, or remove the schedule");
            }
            Some(schedule)
        }
        Err(error) => {
            let (code, key) = match &error {
                ScheduleError::Cron { .. } => ("bad-cron", "cron"),
                ScheduleError::TimeZone(_) => ("bad-time-zone", "time_zone"),
                ScheduleError::Duration(_) => ("out-of-range", "duration"),
            };
            let place = node.get(key).unwrap_or(node);
            reader.push(Diagnostic::invalid(code, &place.location, error.to_string()));
            None
        }
    }
}

fn ages(node: &Node, reader: &mut Reader<'_>) -> Ages {
    let usual = Ages::default();
    let ages = Ages {
        free_max_age_s: reader.seconds(node, "free", AGES_S).unwrap_or(usual.free_max_age_s),
        busy_max_age_s: reader.seconds(node, "busy", AGES_S).unwrap_or(usual.busy_max_age_s),
        max_age_s: reader.seconds(node, "max", AGES_S).unwrap_or(usual.max_age_s),
    };
    for (key, age) in [("free", ages.free_max_age_s), ("busy", ages.busy_max_age_s)] {
        if age > ages.max_age_s {
            let place = node.get(key).or_else(|| node.get("max")).unwrap_or(node);
            // The message repeats the file's own words where there are any.
            let said = |key, seconds: u32| reader.text(node, key).unwrap_or_else(|| spoken(u64::from(seconds)));
            let (age, max) = (said(key, age), said("max", ages.max_age_s));
            let message = format!("`{key}` is {age}, but no instance gets older than `max`, {max}");
            reader.warn("age-beyond-max", &place.location, message, "raise `max`, or lower the other one");
        }
    }
    ages
}

fn fallbacks(own: &Node, name: &str, pools: &[&str], reader: &mut Reader<'_>) -> Vec<String> {
    let mut fallbacks: Vec<String> = Vec::new();
    for node in reader.few(own, "fallbacks", MAX_FALLBACKS) {
        let Some(other) = node.text() else { continue };
        if other == name {
            let message = format!("the pool `{name}` is its own fallback");
            reader.invalid("own-fallback", &node.location, message, "remove it");
        } else if !pools.contains(&other) {
            let mut found = Diagnostic::invalid("unknown-pool", &node.location, format!("there is no pool `{other}`"));
            // Beyond that the finding would only be counted, and comparing names is slow.
            if !reader.findings.is_full(Severity::Invalid) {
                found.help = did_you_mean(other, pools.iter().copied().filter(|pool| *pool != name));
            }
            reader.push(found);
        } else if !fallbacks.iter().any(|known| known == other) {
            fallbacks.push(other.to_owned());
        }
    }
    fallbacks
}

/// Reports fallbacks of another platform, which no request ever uses.
pub(crate) fn tell_unlike(named: &[(String, &Node)], pools: &BTreeMap<String, Pool>, reader: &mut Reader<'_>) {
    for (name, node) in named {
        let Some(pool) = pools.get(name) else { continue };
        for fallback in &pool.fallbacks {
            let Some(other) = pools.get(fallback) else { continue };
            if (&other.os, &other.arch) != (&pool.os, &pool.arch) {
                let message = format!(
                    "the fallback `{fallback}` of `{name}` is never used: it is {}/{}, not {}/{}",
                    other.os, other.arch, pool.os, pool.arch
                );
                let place = node.get("kiln").unwrap_or(node);
                reader.warn("unlike-fallback", &place.location, message, "name a pool of the same platform");
            }
        }
    }
}

/// Returns the times that hold for all pools.
pub(crate) fn timing(root: &Node, reader: &mut Reader<'_>) -> Timing {
    let mut timing = Timing::default();
    let checked = root.get("kiln").and_then(|own| reader.checked(own, &Shape::Of(&tables::TIMING), Words::Kiln));
    let Some(own) = checked else { return timing };
    for (key, field) in [
        ("boot_timeout", &mut timing.boot_timeout_ms),
        ("launch_timeout", &mut timing.launch_timeout_ms),
        ("unreachable_after", &mut timing.unreachable_after_ms),
        ("vanished_after", &mut timing.vanished_after_ms),
        ("unattended_after", &mut timing.unattended_after_ms),
        ("surplus_after", &mut timing.surplus_after_ms),
    ] {
        if let Some(seconds) = reader.seconds(&own, key, TIMES_S) {
            *field = i64::from(seconds) * 1000;
        }
    }
    let launches = reader.whole(&own, "launches_at_once", 1..=MAX_LAUNCHES_AT_ONCE);
    if let Some(launches) = launches.and_then(|launches| u32::try_from(launches).ok()) {
        timing.launches_at_once = launches;
    }
    timing
}
