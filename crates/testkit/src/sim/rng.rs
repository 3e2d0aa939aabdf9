//! The only source of randomness of a simulated world. The algorithm (splitmix64) is fixed here, so that a seed means
//! the same for ever.

/// Numbers that follow from the seed alone.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Creates the numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Self { state: seed ^ 0x6b69_6c6e_7369_6d31 };
        rng.next_u64();
        rng
    }

    /// Returns any number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`; 0 for 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a remainder does not matter for such small ends.
        if end == 0 { 0 } else { self.next_u64() % end }
    }

    /// Returns an index of a sequence of this length, which must not be empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(u64::try_from(high - low + 1).unwrap_or(1))).unwrap_or(0)
    }

    /// Returns true with this probability, in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// Returns one of the elements.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.index(of.len())) }
    }
}
