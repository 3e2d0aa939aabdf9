//! Warm targets that change with the time of the week.

use std::fmt;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Another warm target for some time after each match of a cron expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    cron: Cron,
    expression: String,
    time_zone: TimeZone,
    zone_name: String,
    /// How long it holds after each match, in seconds.
    pub duration_s: u32,
    /// Number of instances that are kept ready meanwhile.
    pub warm: u32,
    /// The variant that it applies to; none for the base.
    pub variant: Option<String>,
}

/// The reason why a schedule is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The text is no cron expression.
    #[error(
        "`{expression}` is not a cron expression ({why}); write minute, hour, day, month, weekday: `0 8 * * MON-FRI`"
    )]
    Cron {
        /// The text as written.
        expression: String,
        /// The parser's message.
        why: String,
    },
    /// The text is no time zone.
    #[error("`{0}` is not a time zone; write a name of the IANA database such as `Europe/Zurich`, or `UTC`")]
    TimeZone(String),
    /// The duration is missing or too long.
    #[error("a schedule lasts for 1 minute to 7 days from each match on, not for  {0} s")]
    Duration(u32),
}

/// Longest duration of one match, in seconds.
const MAX_DURATION_S: u32 = 7 * 24 * 3600;

impl Schedule {
    /// Reads a schedule. `expression` has five fields; `zone` is a name of the IANA database.
    ///
    /// # Errors
    /// When the expression or the zone is not valid, or the duration is out of range.
    pub fn new(
        expression: &str,
        zone: &str,
        duration_s: u32,
        warm: u32,
        variant: Option<String>,
    ) -> Result<Self, ScheduleError> {
        let bad = |why: String| ScheduleError::Cron { expression: expression.to_owned(), why };
        let cron: Cron = expression.parse().map_err(|e: croner::errors::CronError| bad(e.to_string()))?;
        let time_zone = TimeZone::get(zone).map_err(|_| ScheduleError::TimeZone(zone.to_owned()))?;
        if !(60..=MAX_DURATION_S).contains(&duration_s) {
            return Err(ScheduleError::Duration(duration_s));
        }
        let (expression, zone_name) = (expression.to_owned(), zone.to_owned());
        Ok(Self { cron, expression, time_zone, zone_name, duration_s, warm, variant })
    }

    /// Tells whether it ever begins. One for the 31st of February does not.
    #[must_use]
    pub fn ever_begins(&self) -> bool {
        self.cron.find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(self.time_zone.clone()), true).is_ok()
    }

    /// Tells whether it holds at this time (milliseconds since 1970).
    #[must_use]
    pub fn holds(&self, now_ms: i64) -> bool {
        let Ok(now) = Timestamp::from_millisecond(now_ms) else { return false };
        // An expression that never matches has no previous match.
        let Ok(since) = self.cron.find_previous_occurrence(&now.to_zoned(self.time_zone.clone()), true) else {
            return false;
        };
        now.duration_since(since.timestamp()) < SignedDuration::from_secs(i64::from(self.duration_s))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {} s: {}", self.expression, self.zone_name, self.duration_s, self.warm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, zone: &str, duration_s: u32, at: &str, holds: bool) {
        let schedule = Schedule::new(expression, zone, duration_s, 3, None).expect("a schedule");
        let at: Timestamp = at.parse().expect("a time");
        assert_eq!(schedule.holds(at.as_millisecond()), holds, "{schedule} at {at}");
    }

    #[test]
    fn it_holds_from_each_match_on_for_its_duration() {
        // 8:00 in Zurich is 7:00 UTC in winter, 6:00 in summer.
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-11-24T06:59:59Z", false);
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-11-24T07:00:00Z", true);
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-11-24T16:59:59Z", true);
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-11-24T17:00:00Z", false);
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-07-07T06:00:00Z", true);
        // This is a Saturday.
        check("0 8 * * MON-FRI", "Europe/Zurich", 36_000, "2026-11-28T09:00:00Z", false);
        check("30 22 * * *", "UTC", 7_200, "2026-11-24T00:29:59Z", true);
    }

    #[test]
    fn days_that_no_month_has_never_come() {
        for (expression, ever) in [
            ("0 8 31 2 *", false),
            ("0 0 30 FEB *", false),
            ("0 0 31 4,6 *", false),
            ("0 0 29 2 *", true),
            ("* * * * *", true),
        ] {
            let schedule = Schedule::new(expression, "Europe/Zurich", 60, 1, None).expect("a schedule");
            assert_eq!(schedule.ever_begins(), ever, "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        let error = |e, z, d| Schedule::new(e, z, d, 1, None).expect_err("no schedule");
        assert!(matches!(error("nonsense", "UTC", 60), ScheduleError::Cron { .. }));
        assert_eq!(error("0 8 * * *", "Europe/Nowhere", 60), ScheduleError::TimeZone("Europe/Nowhere".to_owned()));
        assert_eq!(error("0 8 * * *", "UTC", 59), ScheduleError::Duration(59));
    }
}
