//! The variables of a tag that is a version.

/// Adds `DRONE_SEMVER` and its parts when the tag is a semantic version, with or without a `v`, or else
/// `DRONE_SEMVER_ERROR`.
pub(super) fn semantic(tag: &str, add: &mut impl FnMut(&str, &str)) {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let (rest, build) = version.split_once('+').unwrap_or((version, ""));
    let (short, prerelease) = rest.split_once('-').unwrap_or((rest, ""));
    let parts: Vec<&str> = short.split('.').collect();
    let [major, minor, patch] = parts[..] else {
        return add("DRONE_SEMVER_ERROR", &format!("{version} is not in dotted-tri format"));
    };
    if let Some(part) = [major, minor, patch].into_iter().find(|part| !is_number(part)) {
        return add("DRONE_SEMVER_ERROR", &format!("{version} has `{part}` in the place of a number"));
    }
    add("DRONE_SEMVER", version);
    add("DRONE_SEMVER_SHORT", short);
    add("DRONE_SEMVER_MAJOR", major);
    add("DRONE_SEMVER_MINOR", minor);
    add("DRONE_SEMVER_PATCH", patch);
    let mut part = |name: &str, value: &str| (!value.is_empty()).then(|| add(name, value));
    part("DRONE_SEMVER_PRERELEASE", prerelease);
    part("DRONE_SEMVER_BUILD", build);
}

/// Adds `DRONE_CALVER` and its parts when the tag is a version by the calendar, with or without a `v`: a year of two or
/// four digits, a number, and what may follow (`2024.05.1-rc1`).
pub(super) fn by_calendar(tag: &str, add: &mut impl FnMut(&str, &str)) {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let mut parts = version.splitn(3, '.');
    let (Some(major), Some(minor), rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default()) else {
        return;
    };
    let year = major.parse().is_ok_and(|year: u32| matches!(year, 19..=99 | 2019..=9998));
    if !(year && is_number(major) && is_number(minor)) {
        return;
    }
    let (micro, modifier) = rest.split_once('-').unwrap_or((rest, ""));
    let both = format!("{major}.{minor}");
    let short = if micro.is_empty() { both.clone() } else { format!("{both}.{micro}") };
    let whole = if modifier.is_empty() { short.clone() } else { format!("{short}-{modifier}") };
    add("DRONE_CALVER", &whole);
    add("DRONE_CALVER_SHORT", &short);
    add("DRONE_CALVER_MAJOR_MINOR", &both);
    add("DRONE_CALVER_MAJOR", major);
    add("DRONE_CALVER_MINOR", minor);
    add("DRONE_CALVER_MICRO", micro);
    if !modifier.is_empty() {
        add("DRONE_CALVER_MODIFIER", modifier);
    }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}
