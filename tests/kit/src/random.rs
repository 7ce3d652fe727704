//! Random choices of a test that can be made again.

use std::time::UNIX_EPOCH;

/// A seeded generator (xorshift).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `SEED`, else by the clock; prints the seed.
    pub fn from_env() -> Self {
        let now = UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
        let seed = std::env::var("SEED").map_or(now, |seed| seed.parse().expect("SEED is a number"));
        println!("SEED={seed}");
        Self::new(seed)
    }

    /// With this seed.
    pub fn new(seed: u64) -> Self {
        // It would stay at zero.
        Self(seed | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 up to, and without, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}
