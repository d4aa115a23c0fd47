//! Numbers that look random and are the same on every machine and in every release.

/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c).
pub struct Random {
    state: u64,
    /// Those who attack just now: the last part of the address, and how often it still comes.
    attackers: [(u32, u32); 4],
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, attackers: Default::default() }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; `limit` must not be zero.
    pub fn below(&mut self, limit: u32) -> u32 {
        // The upper half of a 64-bit product is below its factor.
        let scaled = ((self.next() >> 32) * u64::from(limit)) >> 32;
        u32::try_from(scaled).unwrap_or_default()
    }

    pub fn below_signed(&mut self, limit: u32) -> i64 {
        i64::from(self.below(limit))
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let number = self.below(u32::try_from(of.len()).unwrap_or(u32::MAX));
        of[number as usize]
    }

    /// An address of the network for benchmarks, 198.18.0.0/15.
    pub fn address(&mut self) -> String {
        format!("198.{}.{}.{}", 18 + self.below(2), self.below(256), self.below(256))
    }

    /// The address of one of those who attack just now. Each comes some hundred times, as real ones do, then another
    /// takes its place.
    pub fn hostile_address(&mut self) -> String {
        let at = self.below(4) as usize;
        let (mut address, mut left) = self.attackers[at];
        if left == 0 {
            (address, left) = (self.below(256), 50 + self.below(400));
        }
        self.attackers[at] = (address, left - 1);
        format!("203.0.113.{address}")
    }

    pub fn port(&mut self) -> u32 {
        32_768 + self.below(28_000)
    }

    /// A UUID in its usual form.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }
}
