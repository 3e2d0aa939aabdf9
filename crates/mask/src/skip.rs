//! Finds the places where a form may begin, without reading most of the bytes.

/// Bytes of a block.
pub(crate) const BLOCK: usize = 3;
/// Length of the longest beginning of a form in the table.
const REACH_MAX: usize = 32;
/// Sizes of the table, as powers of two, and the number of entries for each block, so that blocks seldom share one.
const BITS: std::ops::RangeInclusive<u32> = 10..=16;
const ENTRIES_PER_BLOCK: usize = 4;

/// A table over the blocks of the beginnings of all forms.
///
/// All beginnings have one length, the reach: that of the shortest form. At a place of a text, the last block within
/// the reach is looked up. If it is the last block of a beginning, a form may begin here. Otherwise the table gives the
/// distance to the earliest place where one can begin.
pub(crate) struct Skip {
    reach: usize,
    bits: u32,
    shifts: Box<[u8]>,
}

impl Skip {
    /// Builds the table.
    pub(crate) fn over(forms: &[Vec<u8>]) -> Self {
        let shortest = forms.iter().map(Vec::len).min().unwrap_or(BLOCK);
        let reach = shortest.clamp(BLOCK, REACH_MAX);
        let blocks = forms.len() * (reach - BLOCK + 1) * if shortest < BLOCK { 256 } else { 1 };
        let bits = (blocks * ENTRIES_PER_BLOCK).next_power_of_two().ilog2().clamp(*BITS.start(), *BITS.end());
        let farthest = (reach - BLOCK + 1) as u8;
        let mut skip = Self { reach, bits, shifts: vec![farthest; 1 << bits].into_boxed_slice() };
        for form in forms {
            match form[..] {
                // A form of two bytes has a block for every third byte.
                [a, b] => (0..=u8::MAX).for_each(|c| skip.lower(&[a, b, c], 0)),
                _ => {
                    let beginning = form.windows(BLOCK).take(reach - BLOCK + 1).enumerate();
                    beginning.for_each(|(at, block)| skip.lower(block, reach - BLOCK - at));
                }
            }
        }
        skip
    }

    fn lower(&mut self, block: &[u8], shift: usize) {
        let entry = self.entry(block);
        self.shifts[entry] = self.shifts[entry].min(shift as u8);
    }

    /// Returns the first place from `from` on where a form may begin, as far as the bytes show.
    pub(crate) fn next(&self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(block) = bytes.get(at + self.reach - BLOCK..at + self.reach) {
            let shift = usize::from(self.shifts[self.entry(block)]);
            if shift == 0 {
                return at;
            }
            at += shift;
        }
        // The last places have too few bytes behind them for the table.
        at.min(bytes.len())
    }

    fn entry(&self, block: &[u8]) -> usize {
        let number = u32::from(block[0]) << 16 | u32::from(block[1]) << 8 | u32::from(block[2]);
        // Knuth's multiplicative hash: 2^32 divided by the golden ratio.
        (number.wrapping_mul(0x9E37_79B1) >> (u32::BITS - self.bits)) as usize
    }

    /// Returns its memory use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shifts.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

        #[test]
        fn no_place_where_a_form_begins_is_left_out(
            forms in prop::collection::btree_set("[abc]{2,40}", 1..6),
            text in "[abc]{0,120}",
        ) {
            let forms: Vec<Vec<u8>> = forms.into_iter().map(String::into_bytes).collect();
            let skip = Skip::over(&forms);
            let text = text.as_bytes();
            let mut at = 0;
            while at < text.len() {
                let next = skip.next(text, at);
                let left_out = (at..next).find(|at| forms.iter().any(|form| text[*at..].starts_with(form)));
                prop_assert_eq!(left_out, None);
                at = next + 1;
            }
        }
    }
}
