//! The streaming matcher.

use std::sync::Arc;

use aho_corasick::automaton::Automaton as _;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Input, MatchKind};

use super::Secrets;

/// What stands in the place of a secret. Its length says nothing about the secret's.
pub const MASK: &[u8] = b"**************";

/// Masks one stream.
///
/// Where several secrets match, the leftmost is taken, and of those the longest. Bytes are held back only while they
/// may be the beginning of a secret, so output without such a beginning passes at once.
pub struct Masker {
    secrets: Arc<Secrets>,
    generation: u64,
    matching: Matching,
    held: Vec<u8>,
}

enum Matching {
    /// There are no secrets.
    Pass,
    /// The usual case.
    Replace(Box<Matcher>),
    /// There are more secrets than can be matched: nothing may be shown.
    Withhold,
}

struct Matcher {
    automaton: NFA,
    /// In order, for the search for a beginning.
    patterns: Vec<Vec<u8>>,
    starts: [bool; 256],
    longest: usize,
}

impl Matcher {
    fn build(patterns: Vec<Vec<u8>>) -> Matching {
        if patterns.is_empty() {
            return Matching::Pass;
        }
        let mut starts = [false; 256];
        for first in patterns.iter().filter_map(|p| p.first()) {
            starts[usize::from(*first)] = true;
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        // Of the library's automata this one takes a small part of the memory of the fastest; named directly, the others
        // are not part of the program.
        let built = NFA::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns);
        match built {
            Ok(automaton) => Matching::Replace(Box::new(Self { automaton, patterns, starts, longest })),
            Err(error) => {
                tracing::error!(%error, "cannot build the matcher for secrets; output is withheld");
                Matching::Withhold
            }
        }
    }

    /// Where the bytes begin that may become a secret with what follows; the length if there are none.
    fn beginning(&self, bytes: &[u8], from: usize) -> usize {
        let first = from.max((bytes.len() + 1).saturating_sub(self.longest));
        (first..bytes.len()).find(|at| self.may_begin(&bytes[*at..])).unwrap_or(bytes.len())
    }

    fn may_begin(&self, suffix: &[u8]) -> bool {
        if !self.starts[usize::from(suffix[0])] {
            return false;
        }
        let at = self.patterns.partition_point(|p| p.as_slice() <= suffix);
        self.patterns.get(at).is_some_and(|p| p.starts_with(suffix))
    }
}

impl Masker {
    /// A masker for the present and all later secrets of the set.
    pub fn new(secrets: Arc<Secrets>) -> Self {
        let generation = secrets.generation();
        let matching = Matcher::build(secrets.patterns());
        Self { secrets, generation, matching, held: Vec::new() }
    }

    /// Takes the next bytes; gives `emit` what is settled.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        self.refresh();
        let matcher = match &self.matching {
            Matching::Pass => return emit(bytes),
            Matching::Withhold => return emit(MASK),
            Matching::Replace(matcher) => matcher,
        };
        if self.held.is_empty() {
            let kept = matcher.settle(bytes, false, &mut emit);
            self.held.extend_from_slice(&bytes[kept..]);
            return;
        }
        self.held.extend_from_slice(bytes);
        let kept = matcher.settle(&self.held, false, &mut emit);
        self.held.drain(..kept);
    }

    /// No more bytes come: gives `emit` the rest.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        match &self.matching {
            Matching::Replace(matcher) => {
                matcher.settle(&held, true, &mut emit);
            }
            Matching::Pass => emit_some(&held, &mut emit),
            Matching::Withhold => emit(MASK),
        }
    }

    fn refresh(&mut self) {
        let now = self.secrets.generation();
        if now != self.generation {
            self.generation = now;
            self.matching = Matcher::build(self.secrets.patterns());
        }
    }
}

impl Matcher {
    /// Emits all that later bytes cannot change, and says where the rest begins.
    fn settle(&self, bytes: &[u8], last: bool, emit: &mut impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        loop {
            let hold = if last { bytes.len() } else { self.beginning(bytes, at) };
            match self.automaton.try_find(&Input::new(bytes).range(at..)) {
                // A match that starts before `hold` cannot become longer, and no earlier one can appear.
                Ok(Some(found)) if found.start() < hold => {
                    emit_some(&bytes[at..found.start()], emit);
                    emit(MASK);
                    at = found.end();
                }
                Ok(_) => {
                    emit_some(&bytes[at..hold], emit);
                    return hold;
                }
                // Only a search of another kind than the automaton was built for fails; nothing may be shown then.
                Err(error) => {
                    tracing::error!(%error, "cannot search for secrets; output is withheld");
                    emit(MASK);
                    return bytes.len();
                }
            }
        }
    }
}

fn emit_some(bytes: &[u8], emit: &mut impl FnMut(&[u8])) {
    if !bytes.is_empty() {
        emit(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[String], text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let set = Arc::new(Secrets::default());
        set.add(secrets);
        let mut masker = Masker::new(set);
        let mut out = Vec::new();
        let mut from = 0;
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (text.len() + 1)).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([text.len()]) {
            masker.push(&text[from..cut], |bytes| out.extend_from_slice(bytes));
            from = cut;
        }
        masker.finish(|bytes| out.extend_from_slice(bytes));
        out
    }

    #[test]
    fn the_longest_wins() {
        let secrets = ["abc".to_owned(), "abcdef".to_owned()];
        for cut in 0..9 {
            assert_eq!(masked(&secrets, b"xabcdefy", &[cut]), b"x**************y");
            assert_eq!(masked(&secrets, b"xabcdexy", &[cut]), b"x**************dexy");
        }
    }

    #[test]
    fn output_that_begins_no_secret_is_not_held_back() {
        let set = Arc::new(Secrets::default());
        set.add(["password"]);
        let mut masker = Masker::new(set.clone());
        let mut out = Vec::new();
        masker.push(b"enter something: ", |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"enter something: ");
        masker.push(b"pass", |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"enter something: ");
        masker.push(b"age", |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"enter something: passage");
        set.add(["later"]);
        masker.push(b" later", |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"enter something: passage **************");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// A small alphabet makes overlaps and false beginnings common.
        #[test]
        fn chunk_borders_change_nothing(
            secrets in prop::collection::vec("[ab/]{2,7}", 1..5),
            text in "[ab/\n]{0,80}",
            cuts in prop::collection::vec(0usize..100, 0..12),
        ) {
            let whole = masked(&secrets, text.as_bytes(), &[]);
            prop_assert_eq!(&masked(&secrets, text.as_bytes(), &cuts), &whole);
            let every: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(&masked(&secrets, text.as_bytes(), &every), &whole);
            for secret in &secrets {
                let shown = whole.windows(secret.len()).any(|w| w == secret.as_bytes());
                prop_assert!(!shown, "{} in {}", secret, String::from_utf8_lossy(&whole));
            }
        }

        /// Real-looking secrets, printed in every form between other text.
        #[test]
        fn no_form_appears(
            secret in "[A-Za-z0-9+/&\"' é]{8,40}",
            around in "[a-z ]{0,10}",
            cuts in prop::collection::vec(0usize..1000, 0..8),
        ) {
            prop_assume!(secret.trim() == secret);
            let forms = super::super::variants::of(&secret);
            let mut text = around.clone().into_bytes();
            for form in &forms {
                text.extend_from_slice(form);
                text.extend_from_slice(around.as_bytes());
                text.push(b'\n');
            }
            let out = masked(&[secret], &text, &cuts);
            for form in &forms {
                prop_assert!(!out.windows(form.len()).any(|w| w == form.as_slice()));
            }
        }
    }
}
