//! Families of metrics with a bounded number of series.
//!
//! A label's value may come from a request: an account, the name of an image. Each new one is a series that this
//! process and its collectors keep for ever. So a family has a maximum number of series, and further ones are counted
//! in one more, whose labels are all [`OTHERS`].

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Labels;

/// The label's value for all values that have no series of their own.
pub(super) const OTHERS: &str = "other";
/// Most series of a family of counters or gauges.
pub(super) const SERIES_MAX: usize = 10_000;
/// Most series of a family of histograms, each of which is 18 lines.
pub(super) const HISTOGRAMS_MAX: usize = 1_000;
/// Most accounts with labels of their own in counters and gauges.
pub(super) const ACCOUNTS_MAX: usize = 1_000;
/// Most accounts with labels of their own in histograms.
pub(super) const ACCOUNTS_IN_HISTOGRAMS_MAX: usize = 50;

/// A family of metrics with a bound on the number of its series.
pub(super) struct Series<M, C = fn() -> M> {
    family: Family<Labels, M, C>,
    known: Mutex<HashSet<Labels>>,
    most: usize,
}

pub(super) type Counters = Series<Counter>;
pub(super) type Gauges = Series<Gauge>;
pub(super) type Histograms = Series<Histogram>;

impl Counters {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self::register(registry, name, help, SERIES_MAX, Counter::default)
    }
}

impl Gauges {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self::register(registry, name, help, SERIES_MAX, Gauge::default)
    }
}

impl Histograms {
    /// Registers histograms of durations in seconds.
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self::register(registry, name, help, HISTOGRAMS_MAX, seconds)
    }
}

fn seconds() -> Histogram {
    // The buckets go from 50 ms to 27 min: from a warm claim to a wait for capacity.
    Histogram::new(exponential_buckets(0.05, 2.0, 16))
}

impl<M> Series<M>
where
    M: prometheus_client::encoding::EncodeMetric
        + prometheus_client::metrics::TypedMetric
        + Clone
        + Send
        + Sync
        + std::fmt::Debug
        + 'static,
{
    fn register(registry: &mut Registry, name: &str, help: &str, most: usize, make: fn() -> M) -> Self {
        let family = Family::new_with_constructor(make);
        registry.register(name, help, family.clone());
        Self { family, known: Mutex::default(), most }
    }

    /// Returns the metric of these labels, or that of all others when there are too many.
    pub(super) fn of(&self, labels: &Labels) -> M {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most && !known.contains(labels) {
            let others: Labels = labels.iter().map(|(name, _)| (*name, OTHERS.to_owned())).collect();
            return self.family.get_or_create(&others).clone();
        }
        if !known.contains(labels) {
            known.insert(labels.clone());
        }
        self.family.get_or_create(labels).clone()
    }
}

/// The accounts that have labels of their own: the first ones that were seen.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<String, usize>>);

impl Accounts {
    /// Returns the account's label, for metrics that distinguish at most `most` accounts.
    pub(super) fn label(&self, account: &str, most: usize) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.len();
        let place = match known.get(account) {
            Some(place) => *place,
            None if next < ACCOUNTS_MAX => {
                known.insert(account.to_owned(), next);
                next
            }
            None => next,
        };
        if place < most { account.to_owned() } else { OTHERS.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode_registry;

    use super::*;

    fn lines(registry: &Registry, beginning: &str) -> Vec<String> {
        let mut text = String::new();
        encode_registry(&mut text, registry).expect("text");
        text.lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
    }

    #[test]
    fn a_family_does_not_grow_without_end() {
        let mut registry = Registry::default();
        let counters = Counters::new(&mut registry, "counted", "");
        let histograms = Histograms::new(&mut registry, "took", "");
        for n in 0..SERIES_MAX + 500 {
            let labels = vec![("image_name", format!("image-{n}")), ("pool", "pool".to_owned())];
            counters.of(&labels).inc();
            histograms.of(&labels).observe(1.0);
        }
        let counted = lines(&registry, "counted_total{");
        assert_eq!(counted.len(), SERIES_MAX + 1);
        assert!(counted.contains(&"counted_total{image_name=\"other\",pool=\"other\"} 500".to_owned()));
        let took = lines(&registry, "took_count{");
        assert_eq!(took.len(), HISTOGRAMS_MAX + 1);
        let others = SERIES_MAX + 500 - HISTOGRAMS_MAX;
        assert!(took.contains(&format!("took_count{{image_name=\"other\",pool=\"other\"}} {others}")));
        // Known series are still counted.
        counters.of(&vec![("image_name", "image-0".to_owned()), ("pool", "pool".to_owned())]).inc();
        assert!(lines(&registry, "counted_total{image_name=\"image-0\"")[0].ends_with(" 2"));
    }

    #[test]
    fn late_accounts_share_a_label() {
        let accounts = Accounts::default();
        for n in 0..ACCOUNTS_MAX {
            assert_eq!(accounts.label(&format!("a{n}"), ACCOUNTS_MAX), format!("a{n}"));
        }
        assert_eq!(accounts.label("late", ACCOUNTS_MAX), OTHERS);
        assert_eq!(accounts.label("a7", ACCOUNTS_IN_HISTOGRAMS_MAX), "a7");
        assert_eq!(accounts.label("a70", ACCOUNTS_IN_HISTOGRAMS_MAX), OTHERS);
        assert_eq!(accounts.0.lock().expect("lock").len(), ACCOUNTS_MAX);
    }
}
