//! Times in a form for people.

/// Returns an age: `12s`, `3m12s`, `2h05m`, `3d04h`. A time in the future, by another machine's clock, is `0s`.
#[must_use]
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// Returns a duration in which parts of seconds matter: `180ms`, `4.3s`, otherwise like [`age`].
#[must_use]
pub fn lasted(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => age(ms),
    }
}

/// Returns a point in time: `2026-11-25 00:16:21Z`.
#[must_use]
pub fn clock(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    time.map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// Returns the present time, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let cases =
            [(-5, "0s"), (999, "0s"), (59_999, "59s"), (192_000, "3m12s"), (3_600_000, "1h00m"), (90_061_000, "1d01h")];
        for (ms, expected) in cases {
            assert_eq!(age(ms), expected);
        }
    }

    #[test]
    fn durations() {
        for (ms, expected) in [(-5, "0ms"), (180, "180ms"), (4_390, "4.3s"), (12_345, "12s"), (192_000, "3m12s")] {
            assert_eq!(lasted(ms), expected);
        }
    }

    #[test]
    fn points() {
        assert_eq!(clock(1_764_029_781_123), "2025-11-25 00:16:21Z");
        assert_eq!(clock(i64::MAX), "?");
    }
}
