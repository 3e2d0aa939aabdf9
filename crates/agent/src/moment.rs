//! Moments as text: RFC 3339 in UTC.

use std::time::Duration;

/// A moment since 1970, with milliseconds.
pub(crate) fn with_milliseconds(since_1970: Duration) -> String {
    format!("{}.{:03}Z", to_seconds(since_1970), since_1970.subsec_millis())
}

/// A moment since 1970, with nanoseconds, all of them.
pub(crate) fn with_nanoseconds(since_1970: Duration) -> String {
    format!("{}.{:09}Z", to_seconds(since_1970), since_1970.subsec_nanos())
}

fn to_seconds(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / 86400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
}

/// The date of a day since 1970. Years are counted from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let shifted = days + 719_468;
    let (era, day) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check =
            |seconds: u64, expected: &str| assert_eq!(with_milliseconds(Duration::from_secs(seconds)), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, "2000-02-28T23:59:59.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(951_868_800, "2000-03-01T00:00:00.000Z");
        check(1_795_471_445, "2026-11-23T22:04:05.000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000Z");
    }
}
