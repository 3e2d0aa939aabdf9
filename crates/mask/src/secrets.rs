//! The secrets of a stage or a run, and the automaton that finds them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::automaton::Automaton;
use crate::masked::{Masked, Texts};
use crate::stream::{Settled, Spans};
use crate::{MASK, forms};

/// Most bytes of all forms together.
const FORMS_MAX_BYTES: usize = 32 << 20;

/// The known secrets. More may be added at any time; they are masked in all later output.
#[derive(Default)]
pub struct Secrets {
    state: Mutex<State>,
    generation: AtomicU64,
}

#[derive(Default)]
struct State {
    values: BTreeSet<String>,
    /// The automaton for one generation of the values. All streams share it.
    built: (u64, Arc<Matching>),
}

/// The treatment of output.
#[derive(Default)]
pub(crate) enum Matching {
    /// There are no secrets.
    #[default]
    Pass,
    /// Secrets are replaced. This is the usual case.
    Replace(Box<Automaton>),
    /// There are too many secrets to search for, so nothing may be shown.
    Withhold,
}

impl Secrets {
    /// Adds values that are masked from now on, in every form in which they may be printed.
    pub fn add<S: AsRef<str>>(&self, values: impl IntoIterator<Item = S>) {
        let mut state = self.lock();
        let before = state.values.len();
        for value in values {
            if !state.values.contains(value.as_ref()) {
                state.values.insert(value.as_ref().to_owned());
            }
        }
        if state.values.len() != before {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns the values, for another component that has to mask them too.
    pub fn values(&self) -> Vec<String> {
        self.lock().values.iter().cloned().collect()
    }

    /// Masks every text of a message.
    pub fn mask<T: Texts>(&self, mut message: T) -> Masked<T> {
        let matching = self.matching().1;
        message.texts(&mut |text| matching.mask(text));
        Masked(message)
    }

    /// Returns the memory use of the automaton, in bytes.
    pub fn memory_bytes(&self) -> usize {
        match &*self.matching().1 {
            Matching::Replace(automaton) => automaton.memory_bytes(),
            Matching::Pass | Matching::Withhold => 0,
        }
    }

    /// Returns a number that changes whenever a secret is added.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the present treatment, with its generation.
    pub(crate) fn matching(&self) -> (u64, Arc<Matching>) {
        let (generation, values) = {
            let state = self.lock();
            // The generation changes only under the lock.
            let generation = self.generation();
            if state.built.0 == generation {
                return state.built.clone();
            }
            (generation, state.values.clone())
        };
        // The lock is released here, because log messages are masked with this very set.
        let built = (generation, Arc::new(Matching::of(&values)));
        {
            let mut state = self.lock();
            if state.built.0 < generation {
                state.built = built.clone();
            }
        }
        if matches!(*built.1, Matching::Withhold) {
            tracing::error!("there are more secrets than can be searched for; all output and all texts are withheld");
        }
        built
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A holder that panicked leaves nothing half done: a value is in the set or not.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the number of secrets, but none of them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.lock().values.len())
    }
}

impl Matching {
    fn of(values: &BTreeSet<String>) -> Self {
        let (mut forms, mut bytes) = (BTreeSet::new(), 0);
        for form in values.iter().flat_map(|value| forms::of(value)) {
            bytes += form.len();
            if bytes > FORMS_MAX_BYTES {
                return Self::Withhold;
            }
            forms.insert(form);
        }
        if forms.is_empty() {
            return Self::Pass;
        }
        let forms: Vec<_> = forms.into_iter().collect();
        Automaton::build(&forms).map_or(Self::Withhold, |automaton| Self::Replace(Box::new(automaton)))
    }

    fn mask(&self, text: &mut String) {
        match self {
            Self::Pass => {}
            Self::Withhold => MASK.clone_into(text),
            Self::Replace(automaton) => {
                let mut out = Vec::with_capacity(text.len());
                Spans::default().settle(automaton, text.as_bytes(), true, &mut |settled: Settled<'_>| {
                    out.extend_from_slice(&settled);
                });
                if out != text.as_bytes() {
                    // Forms are whole characters, so the result is UTF-8 again.
                    *text = String::from_utf8_lossy(&out).into_owned();
                }
            }
        }
    }
}
