//! Random numbers for fuzzing: a case is a function of (target, number), on every machine.

/// A stream of random numbers that depends only on its case.
#[derive(Clone, Debug)]
pub struct Rng(random::Rng);

impl Rng {
    /// The stream of a target's case.
    pub fn of_case(target: &str, number: u64) -> Self {
        let name = target
            .bytes()
            .fold(0, |state, byte| random::finalize(state ^ u64::from(byte)));
        Self(random::Rng::stream(name, number))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; 0 for `n` = 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    /// True with probability 1/`n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A random byte.
    pub fn byte(&mut self) -> u8 {
        self.next_u64() as u8
    }

    /// One of the items; `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// A length up to `most`; short ones are far more likely than long ones.
    pub fn length(&mut self, most: usize) -> usize {
        let bits = self.below(most.max(1).ilog2() as usize + 2);
        self.below((1 << bits) + 1).min(most)
    }
}
