//! Finds every occurrence of every form in one pass, however they overlap.
//!
//! This is the automaton of Aho and Corasick (1975): a tree of the forms, in which each node also knows the node of its
//! longest proper suffix. Its nodes are numbered level by level, so the children of a node are neighbours and need no
//! pointers of their own: 13 bytes a node. Before the tree is entered, a table over blocks of three bytes gives the
//! distance to the next place where a form can begin (Wu and Manber, 1994). Ordinary output spends nearly all of its
//! time there.

use std::ops::Range;

use crate::skip::{BLOCK, Skip};

/// Length of the longest form. Longer values are cut into pieces when the forms are made.
pub(crate) const FORM_MAX_BYTES: usize = u16::MAX as usize;
/// Length of the shortest form.
pub(crate) const FORM_MIN_BYTES: usize = 2;
/// Most nodes. They take about 52 MB.
const NODES_MAX: usize = 4 << 20;

/// A node; the root is 0.
pub(crate) type Node = u32;

pub(crate) const ROOT: Node = 0;

/// The forms, in a structure for searching.
pub(crate) struct Automaton {
    skip: Skip,
    /// The root's children by their byte; the root itself where there is none.
    roots: [Node; 256],
    /// By node: the byte that leads to it.
    labels: Vec<u8>,
    /// By node: its first child. Its children end where those of the next node begin.
    first_child: Vec<Node>,
    /// By node: the node of its longest proper suffix.
    suffix: Vec<Node>,
    /// By node: the length of the longest form that ends with it; 0 for none.
    ends: Vec<u16>,
    /// By node: the number of bytes that lead to it from the root.
    depth: Vec<u16>,
}

/// There are too many forms to search for.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Automaton {
    /// Builds the tree of `forms`. They are sorted, distinct, and of lengths within the bounds.
    pub(crate) fn build(forms: &[Vec<u8>]) -> Result<Self, TooMany> {
        debug_assert!(forms.iter().all(|form| (FORM_MIN_BYTES..=FORM_MAX_BYTES).contains(&form.len())));
        let mut built = Self {
            skip: Skip::over(forms),
            roots: [ROOT; 256],
            labels: vec![0],
            first_child: Vec::new(),
            suffix: vec![ROOT],
            ends: vec![0],
            depth: vec![0],
        };
        // The forms below each node of the present level. They are neighbours, because the forms are sorted.
        let mut level = vec![(0, forms.len())];
        let (mut node, mut depth) = (ROOT, 0);
        while !level.is_empty() {
            let mut next = Vec::new();
            for (mut from, to) in level {
                built.first_child.push(built.labels.len() as Node);
                while from < to {
                    let Some(&label) = forms[from].get(depth) else {
                        // This form ends here.
                        from += 1;
                        continue;
                    };
                    let same = forms[from..to].partition_point(|form| form[depth] <= label);
                    built.add(node, label, depth + 1, forms[from].len() == depth + 1);
                    next.push((from, from + same));
                    from += same;
                }
                node += 1;
            }
            if built.labels.len() > NODES_MAX {
                return Err(TooMany);
            }
            level = next;
            depth += 1;
        }
        built.first_child.push(built.labels.len() as Node);
        built.shrink();
        Ok(built)
    }

    /// Adds a child. All nodes of higher levels are complete by now, and so are the children of nodes with lower
    /// numbers.
    fn add(&mut self, parent: Node, label: u8, depth: usize, is_form: bool) {
        let child = self.labels.len() as Node;
        let suffix = if parent == ROOT {
            self.roots[usize::from(label)] = child;
            ROOT
        } else {
            self.next(self.suffix[parent as usize], label)
        };
        self.labels.push(label);
        self.suffix.push(suffix);
        self.depth.push(depth as u16);
        self.ends.push(if is_form { depth as u16 } else { self.ends[suffix as usize] });
    }

    fn shrink(&mut self) {
        self.labels.shrink_to_fit();
        self.first_child.shrink_to_fit();
        self.suffix.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.depth.shrink_to_fit();
    }

    /// Returns the node after one more byte: the longest suffix of the bytes read so far that begins a form.
    fn next(&self, mut node: Node, byte: u8) -> Node {
        while node != ROOT {
            let children = self.children(node);
            let first = children.start;
            if let Some(at) = self.labels[children].iter().position(|label| *label == byte) {
                return (first + at) as Node;
            }
            node = self.suffix[node as usize];
        }
        self.roots[usize::from(byte)]
    }

    fn children(&self, node: Node) -> Range<usize> {
        self.first_child[node as usize] as usize..self.first_child[node as usize + 1] as usize
    }

    /// Returns how many of the last bytes may begin a form.
    pub(crate) fn depth(&self, node: Node) -> usize {
        usize::from(self.depth[node as usize])
    }

    /// Reads `bytes` from `at` on, starting at `node`, and calls `found` for every place (from, to) of a form that is
    /// not the end of a longer one. A place may be reported twice. Returns the last node.
    pub(crate) fn scan(
        &self,
        bytes: &[u8],
        mut at: usize,
        mut node: Node,
        mut found: impl FnMut(usize, usize),
    ) -> Node {
        let mut begin = at - self.depth(node);
        if node == ROOT {
            at = self.skip.next(bytes, at);
            begin = at;
        }
        while at < bytes.len() {
            node = self.next(node, bytes[at]);
            at += 1;
            let form = usize::from(self.ends[node as usize]);
            if form > 0 {
                found(at - form, at);
            }
            let depth = self.depth(node);
            if depth < BLOCK && at - depth > begin {
                // No form begins before this place, and the table finds the next possible one faster than the tree.
                at = self.skip.next(bytes, at - depth);
                (begin, node) = (at, ROOT);
            }
        }
        // Where no form continues, only a suffix can become one.
        while node != ROOT && self.children(node).is_empty() {
            node = self.suffix[node as usize];
        }
        node
    }

    /// Returns its memory use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let nodes = self.labels.capacity() + 2 * (self.ends.capacity() + self.depth.capacity());
        size_of::<Self>()
            + nodes
            + 4 * (self.first_child.capacity() + self.suffix.capacity())
            + self.skip.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn spans(forms: &[&str], text: &str) -> BTreeSet<(usize, usize)> {
        let forms: BTreeSet<Vec<u8>> = forms.iter().map(|form| form.as_bytes().to_vec()).collect();
        let forms: Vec<_> = forms.into_iter().collect();
        let automaton = Automaton::build(&forms).expect("few forms");
        let mut found = BTreeSet::new();
        automaton.scan(text.as_bytes(), 0, ROOT, |from, to| {
            found.insert((from, to));
        });
        found
    }

    #[test]
    fn of_the_forms_that_end_at_a_place_the_longest_is_told() {
        let check = |forms: &[&str], text: &str, expect: &[(usize, usize)]| {
            assert_eq!(spans(forms, text), expect.iter().copied().collect(), "{forms:?} in {text}");
        };
        check(&["42"], "line 42 of 420", &[(5, 7), (11, 13)]);
        check(&["42", "abc42def"], "xabc42defx", &[(4, 6), (1, 9)]);
        check(&["he", "she", "his", "hers"], "ushers", &[(1, 4), (2, 6)]);
        check(&["aa"], "aaaa", &[(0, 2), (1, 3), (2, 4)]);
        check(&["abcd", "cdef"], "abcdef", &[(0, 4), (2, 6)]);
        check(&["ab"], "a", &[]);
        check(&[], "anything", &[]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

        /// A small alphabet makes overlaps, suffixes and false beginnings common.
        #[test]
        fn all_that_is_there_is_found_from_every_beginning(
            forms in prop::collection::btree_set("[abc]{2,6}", 0..8),
            text in "[abc]{0,60}",
            cut in 0usize..61,
        ) {
            let forms: Vec<Vec<u8>> = forms.into_iter().map(String::into_bytes).collect();
            let automaton = Automaton::build(&forms).expect("few forms");
            let text = text.as_bytes();
            let mut expected = BTreeSet::new();
            for to in 0..=text.len() {
                let ending = forms.iter().filter(|form| text[..to].ends_with(form)).map(Vec::len).max();
                expected.extend(ending.map(|len| (to - len, to)));
            }
            let mut found = BTreeSet::new();
            let cut = cut.min(text.len());
            let node = automaton.scan(&text[..cut], 0, ROOT, |from, to| {
            found.insert((from, to));
        });
            automaton.scan(text, cut, node, |from, to| {
            found.insert((from, to));
        });
            prop_assert_eq!(found, expected);
        }
    }
}
