//! Masks a stream, wherever the borders of its chunks fall.

use std::ops::Deref;
use std::sync::Arc;

use crate::MASK;
use crate::automaton::{Automaton, Node, ROOT};
use crate::secrets::{Matching, Secrets};

/// Bytes that a masker has passed.
#[derive(Debug, Clone, Copy)]
pub struct Settled<'a>(&'a [u8]);

impl Deref for Settled<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

/// Masks one stream.
///
/// Bytes are held back only while they may be the beginning of a secret, so other output passes at once.
pub struct Masker {
    secrets: Arc<Secrets>,
    generation: u64,
    matching: Arc<Matching>,
    held: Vec<u8>,
    spans: Spans,
}

impl Masker {
    /// Creates a masker for the present and all later secrets of the set.
    pub fn new(secrets: Arc<Secrets>) -> Self {
        let (generation, matching) = secrets.matching();
        Self { secrets, generation, matching, held: Vec::new(), spans: Spans::default() }
    }

    /// Takes the next bytes, and calls `emit` with the bytes that are settled.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(Settled<'_>)) {
        self.refresh();
        let automaton = match &*self.matching {
            Matching::Pass => return emit(Settled(bytes)),
            Matching::Withhold => return emit(Settled(MASK.as_bytes())),
            Matching::Replace(automaton) => automaton,
        };
        if self.held.is_empty() {
            let settled = self.spans.settle(automaton, bytes, false, &mut emit);
            self.held.extend_from_slice(&bytes[settled..]);
            return;
        }
        self.held.extend_from_slice(bytes);
        let settled = self.spans.settle(automaton, &self.held, false, &mut emit);
        self.held.drain(..settled);
    }

    /// Takes the end of the stream, and calls `emit` with the rest.
    pub fn finish(&mut self, mut emit: impl FnMut(Settled<'_>)) {
        let held = std::mem::take(&mut self.held);
        match &*self.matching {
            Matching::Replace(automaton) => {
                self.spans.settle(automaton, &held, true, &mut emit);
            }
            // Without an automaton nothing is held, and where nothing may be shown it is dropped.
            Matching::Pass | Matching::Withhold => {}
        }
        self.spans = Spans::default();
    }

    fn refresh(&mut self) {
        if self.secrets.generation() != self.generation {
            (self.generation, self.matching) = self.secrets.matching();
            // The held bytes are searched anew.
            self.spans = Spans { mask_to: self.spans.mask_to, ..Spans::default() };
        }
    }
}

/// Knowledge about the bytes that are not settled yet. Places count from the first of them.
#[derive(Default)]
pub(crate) struct Spans {
    /// Number of bytes that the automaton has read.
    read: usize,
    /// The automaton's node after them.
    node: Node,
    /// Places of secrets, in order and apart from each other.
    found: Vec<(usize, usize)>,
    /// End of the last mask that was emitted, unless something was emitted after it.
    mask_to: Option<usize>,
}

impl Spans {
    /// Emits all of `bytes` that later ones cannot change, and returns their number.
    pub(crate) fn settle(
        &mut self,
        automaton: &Automaton,
        bytes: &[u8],
        last: bool,
        emit: &mut impl FnMut(Settled<'_>),
    ) -> usize {
        self.node =
            automaton.scan(bytes, self.read, self.node, |from, to| add(&mut self.found, &mut self.mask_to, from, to));
        // An incomplete form begins here at the earliest.
        let settled = if last { bytes.len() } else { bytes.len() - automaton.depth(self.node) };
        let mut at = self.mask_to.unwrap_or(0);
        let masks = self.found.partition_point(|(from, _)| *from < settled);
        for (from, to) in self.found.drain(..masks) {
            emit_some(&bytes[at..from], emit);
            emit(Settled(MASK.as_bytes()));
            (at, self.mask_to) = (to, Some(to));
        }
        if at < settled {
            emit_some(&bytes[at..settled], emit);
            self.mask_to = None;
        }
        self.read = bytes.len() - settled;
        self.mask_to = self.mask_to.map(|to| to.saturating_sub(settled));
        for (from, to) in &mut self.found {
            (*from, *to) = (*from - settled, *to - settled);
        }
        if last {
            self.node = ROOT;
        }
        settled
    }
}

/// Adds the place of a secret to the known ones, or to the emitted mask if it reaches there.
fn add(found: &mut Vec<(usize, usize)>, mask_to: &mut Option<usize>, mut from: usize, mut to: usize) {
    while let Some(last) = found.pop_if(|last| last.1 >= from) {
        (from, to) = (from.min(last.0), to.max(last.1));
    }
    match mask_to {
        Some(masked) if from <= *masked => *masked = to.max(*masked),
        _ => found.push((from, to)),
    }
}

fn emit_some(bytes: &[u8], emit: &mut impl FnMut(Settled<'_>)) {
    if !bytes.is_empty() {
        emit(Settled(bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forms;

    fn masked<S: AsRef<str>>(secrets: &[S], text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let set = Arc::new(Secrets::default());
        set.add(secrets);
        let mut masker = Masker::new(set);
        let mut out = Vec::new();
        let mut from = 0;
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (text.len() + 1)).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([text.len()]) {
            masker.push(&text[from..cut], |bytes| out.extend_from_slice(&bytes));
            from = cut;
        }
        masker.finish(|bytes| out.extend_from_slice(&bytes));
        out
    }

    /// Masks every form at every place, the slow way.
    fn expected<S: AsRef<str>>(secrets: &[S], text: &[u8]) -> Vec<u8> {
        let mut hidden = vec![false; text.len()];
        for form in secrets.iter().flat_map(|secret| forms::of(secret.as_ref())) {
            for at in 0..text.len() {
                if text[at..].starts_with(&form) {
                    hidden[at..at + form.len()].fill(true);
                }
            }
        }
        let mut out = Vec::new();
        for at in 0..text.len() {
            match (hidden[at], at > 0 && hidden[at - 1]) {
                (false, _) => out.push(text[at]),
                (true, false) => out.extend_from_slice(MASK.as_bytes()),
                (true, true) => {}
            }
        }
        out
    }

    #[track_caller]
    fn check(secrets: &[&str], text: &str, expect: &str) {
        let expect = expect.replace('#', MASK);
        for cut in 0..=text.len() {
            let out = masked(secrets, text.as_bytes(), &[cut]);
            assert_eq!(String::from_utf8_lossy(&out), expect, "{secrets:?} in {text:?}, cut at {cut}");
        }
        let whole = Secrets::default();
        whole.add(secrets);
        assert_eq!(*whole.mask(text.to_owned()), expect, "{secrets:?} in {text:?}");
    }

    #[test]
    fn a_secret_within_a_longer_one_does_not_split_it() {
        check(&["42", "abc42def"], "x abc42def y 42", "x # y #");
        check(&["42", "abc42def"], "abc42dex", "abc#dex");
        check(&["abc", "abcdef"], "xabcdefy", "x#y");
        check(&["abc", "abcdef"], "xabcdexy", "x#dexy");
    }

    #[test]
    fn of_secrets_that_overlap_nothing_remains() {
        check(&["abc4", "42def"], "xabc42defx", "x#x");
        check(&["user", "pass"], "userpass", "#");
        check(&["aba"], "xababay", "x#y");
        check(&["abcd", "cdefgh", "bc"], "abcdefgh abcd bc cdef", "# # # cdef");
    }

    #[test]
    fn output_that_begins_no_secret_is_not_held_back() {
        let set = Arc::new(Secrets::default());
        set.add(["password"]);
        let mut masker = Masker::new(set.clone());
        let mut out = Vec::new();
        masker.push(b"enter something: ", |bytes| out.extend_from_slice(&bytes));
        assert_eq!(out, b"enter something: ");
        masker.push(b"pass", |bytes| out.extend_from_slice(&bytes));
        assert_eq!(out, b"enter something: ");
        masker.push(b"age", |bytes| out.extend_from_slice(&bytes));
        assert_eq!(out, b"enter something: passage");
        set.add(["later"]);
        masker.push(b" later", |bytes| out.extend_from_slice(&bytes));
        assert_eq!(out, b"enter something: passage **************");
    }

    #[test]
    fn what_is_held_back_when_a_secret_comes_is_searched_anew() {
        let set = Arc::new(Secrets::default());
        set.add(["password"]);
        let mut masker = Masker::new(set.clone());
        let mut out = Vec::new();
        masker.push(b"say passwo", |bytes| out.extend_from_slice(&bytes));
        set.add(["sswo!"]);
        masker.push(b"!", |bytes| out.extend_from_slice(&bytes));
        masker.finish(|bytes| out.extend_from_slice(&bytes));
        assert_eq!(out, b"say pa**************");
    }

    #[test]
    fn secrets_that_are_too_many_to_be_searched_for_let_nothing_through() {
        let set = Arc::new(Secrets::default());
        set.add((0..150).map(|n| format!("{n:03}").repeat(5400)));
        assert_eq!(*set.mask("anything".to_owned()), MASK);
        let mut masker = Masker::new(set);
        masker.push(b"anything", |bytes| assert_eq!(&*bytes, MASK.as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// A small alphabet makes overlaps and false beginnings common.
        #[test]
        fn all_that_matches_is_hidden_wherever_the_chunks_are_cut(
            secrets in prop::collection::vec("[ab/]{2,7}", 1..5),
            text in "[ab/\n]{0,80}",
            cuts in prop::collection::vec(0usize..100, 0..12),
        ) {
            let expect = expected(&secrets, text.as_bytes());
            prop_assert_eq!(&masked(&secrets, text.as_bytes(), &cuts), &expect);
            let every: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(&masked(&secrets, text.as_bytes(), &every), &expect);
            for secret in &secrets {
                let shown = expect.windows(secret.len()).any(|w| w == secret.as_bytes());
                prop_assert!(!shown, "{} in {}", secret, String::from_utf8_lossy(&expect));
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
            let forms = forms::of(&secret);
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
