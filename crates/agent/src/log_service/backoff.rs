//! Pauses between tries.

use std::time::Duration;

use super::Pace;

/// The pauses of one thing that is tried again and again.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(pace: &Pace) -> Self {
        Self { next: pace.first_pause, first: pace.first_pause, longest: pace.longest_pause }
    }

    /// Returns the pause after a failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// Something succeeded.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pace =
            Pace { first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(3), ..Pace::default() };
        let mut backoff = Backoff::new(&pace);
        let pauses: Vec<u64> = (0..4).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 3]);
        backoff.reset();
        assert_eq!(backoff.pause().as_secs(), 1);
    }
}
