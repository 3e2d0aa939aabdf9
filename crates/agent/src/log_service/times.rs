//! When output came, for lines that are sent later than that.

use std::time::Duration;

/// Output that comes within this is taken to have come at once.
const RESOLUTION: Duration = Duration::from_millis(20);
/// Most notes. When there are more, every second one is left out, so older lines have coarser times.
const NOTES: usize = 4096;

/// How much output there was at what time.
#[derive(Debug, Default)]
pub(super) struct Times {
    notes: Vec<Note>,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    len: u64,
    /// Since 1970.
    at: Duration,
}

impl Times {
    /// Notes that there is so much output by now.
    pub(super) fn note(&mut self, len: u64, now: Duration) {
        match self.notes.last_mut() {
            Some(last) if last.len >= len => return,
            Some(last) if now.saturating_sub(last.at) < RESOLUTION => {
                last.len = len;
                return;
            }
            Some(_) | None => {}
        }
        if self.notes.len() >= NOTES {
            let mut keep = false;
            self.notes.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.notes.push(Note { len, at: now });
    }

    /// When the output up to an offset was there, as far as that is known; at the latest `now`.
    pub(super) fn at(&self, end: u64, now: Duration) -> Duration {
        let after = self.notes.partition_point(|note| note.len < end);
        self.notes.get(after).map_or(now, |note| note.at.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_line_has_the_time_at_which_it_was_whole() {
        let mut times = Times::default();
        times.note(10, s(1));
        times.note(15, s(1) + Duration::from_millis(5));
        times.note(30, s(2));
        times.note(30, s(3));
        let at = |end| times.at(end, s(9));
        assert_eq!([1, 10, 15, 16, 30, 31].map(at), [s(1), s(1), s(1), s(2), s(2), s(9)]);
        assert_eq!(Times::default().at(1, s(9)), s(9));
    }

    #[test]
    fn a_long_log_keeps_a_bounded_number_of_notes_in_order() {
        let mut times = Times::default();
        for n in 0..1_000_000 {
            times.note(n + 1, s(n));
        }
        assert!(times.notes.len() <= NOTES);
        assert!(times.notes.is_sorted_by_key(|note| (note.len, note.at)));
        // A line never seems to be older than it is, and the latest is right.
        assert!((1..=1_000_000).step_by(997).all(|end| times.at(end, s(2_000_000)) >= s(end - 1)));
        assert_eq!(times.at(1_000_000, s(2_000_000)), s(999_999));
    }
}
