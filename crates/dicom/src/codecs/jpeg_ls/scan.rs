//! Samples of a scan: regular mode and runs, each with its adaptive contexts (annex A).

use super::bits::ScanBits;
use super::parameters::Parameters;

#[derive(Clone, Copy)]
pub(super) enum Order {
    /// The lines of the components in turn.
    Line,
    /// The samples of a pixel in turn.
    Sample,
}

/// Statistics of a context (A, B, C, N).
#[derive(Clone, Copy)]
struct Context {
    size: i32,
    bias: i32,
    correction: i32,
    count: i32,
}

impl Context {
    /// The Golomb parameter for a sum of errors (code segment A.10).
    fn k(sum: i32, count: i32) -> Option<u32> {
        (0..24).find(|k| i64::from(count) << k >= i64::from(sum))
    }

    /// Code segments A.12 and A.13.
    fn update(&mut self, error: i32, parameters: &Parameters) {
        self.bias += error * (2 * parameters.near + 1);
        self.size += error.abs();
        if self.count == parameters.reset {
            self.size >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// Lengths of runs, as exponents of 2 (J).
const RUNS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

pub(super) struct Scan<'b> {
    parameters: Parameters,
    bits: ScanBits<'b>,
    width: usize,
    contexts: Vec<Context>,
    /// Contexts of samples that interrupt a run, and their numbers of negative errors (Nn).
    interrupting: [(Context, i32); 2],
    components: Vec<Lines>,
}

/// The line being decoded and the one before of a component; index 0 is left of the first sample.
struct Lines {
    before: Vec<u16>,
    now: Vec<u16>,
    /// RUNindex.
    run: usize,
}

/// Neighbours of a sample: left, above, above left, above right.
struct Neighbours {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

impl Lines {
    fn new(width: usize) -> Self {
        Self {
            before: vec![0; width + 2],
            now: vec![0; width + 2],
            run: 0,
        }
    }

    fn advance(&mut self, width: usize) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.before[width + 1] = self.before[width];
        self.now[0] = self.before[1];
    }

    fn around(&self, x: usize) -> Neighbours {
        let [c, b, d] = [0, 1, 2].map(|i| i32::from(self.before[x + i]));
        Neighbours {
            a: i32::from(self.now[x]),
            b,
            c,
            d,
        }
    }
}

impl<'b> Scan<'b> {
    pub(super) fn new(
        parameters: Parameters,
        bytes: &'b [u8],
        width: usize,
        components: usize,
    ) -> Self {
        let context = Context {
            size: ((parameters.range + 32) / 64).max(2),
            bias: 0,
            correction: 0,
            count: 1,
        };
        Self {
            parameters,
            bits: ScanBits::new(bytes),
            width,
            contexts: vec![context; 365],
            interrupting: [(context, 0); 2],
            components: (0..components).map(|_| Lines::new(width)).collect(),
        }
    }

    /// The position from which to look for the next marker.
    pub(super) fn at(&self) -> usize {
        self.bits.at()
    }

    /// Decodes a line of each component; `None` if the data end or are damaged.
    pub(super) fn line(&mut self, order: Order) -> Option<()> {
        let width = self.width;
        self.components
            .iter_mut()
            .for_each(|lines| lines.advance(width));
        match order {
            Order::Line => (0..self.components.len()).try_for_each(|i| self.span(i..i + 1)),
            Order::Sample => self.span(0..self.components.len()),
        }
    }

    /// A line of the given components, sample by sample.
    fn span(&mut self, components: std::ops::Range<usize>) -> Option<()> {
        let mut x = 0;
        while x < self.width {
            let flat = |i: usize| self.context(&self.components[i].around(x)) == 0;
            if components.clone().all(flat) {
                x += self.run(components.clone(), x)?;
                continue;
            }
            for i in components.clone() {
                self.components[i].now[x + 1] = self.sample(i, x)?;
            }
            x += 1;
        }
        Some(())
    }

    /// The signed number of a sample's context; 0 begins a run.
    fn context(&self, around: &Neighbours) -> i32 {
        let gradients = [
            around.d - around.b,
            around.b - around.c,
            around.c - around.a,
        ];
        let [q1, q2, q3] = gradients.map(|gradient| self.parameters.region(gradient));
        81 * q1 + 9 * q2 + q3
    }

    /// A sample in regular mode (A.4 to A.6).
    fn sample(&mut self, component: usize, x: usize) -> Option<u16> {
        let around = self.components[component].around(x);
        let signed = self.context(&around);
        let (sign, number) = (
            if signed < 0 { -1 } else { 1 },
            signed.unsigned_abs() as usize,
        );
        let parameters = self.parameters;
        let context = self.contexts.get_mut(number)?;
        let corrected = predicted(&around) + sign * context.correction;
        let corrected = corrected.clamp(0, parameters.highest);
        let k = Context::k(context.size, context.count)?;
        let mapped = self.bits.golomb(k, parameters.limit, parameters.wide)?;
        let mapped = parameters.possible(mapped)?;
        let flipped = parameters.near == 0 && k == 0 && 2 * context.bias <= -context.count;
        let error = unmapped(mapped, flipped);
        context.update(error, &parameters);
        Some(parameters.reconstructed(corrected, sign * error))
    }

    /// A run, with the sample that interrupts it unless it reaches the end of the line (A.7); returns its length.
    fn run(&mut self, components: std::ops::Range<usize>, x: usize) -> Option<usize> {
        let rest = self.width - x;
        // The components of a pixel share a run, which is counted with the first.
        let mut index = self.components[components.start].run;
        let mut length = 0;
        let interrupted = loop {
            let step = 1 << RUNS[index];
            if self.bits.take(1)? == 0 {
                length += self.bits.take(RUNS[index])? as usize;
                break true;
            }
            if step <= rest - length {
                index = (index + 1).min(31);
            }
            length += step.min(rest - length);
            if length == rest {
                break false;
            }
        };
        if length + usize::from(interrupted) > rest {
            return None;
        }
        for lines in &mut self.components[components.clone()] {
            let value = lines.now[x];
            lines.now[x + 1..=x + length].fill(value);
        }
        if interrupted {
            for i in components.clone() {
                let sample = self.interruption(i, x + length, RUNS[index], components.len() > 1)?;
                self.components[i].now[x + length + 1] = sample;
            }
            index = index.saturating_sub(1);
        }
        self.components[components.start].run = index;
        Some(length + usize::from(interrupted))
    }

    /// The sample that interrupts a run (A.7.2). Pixels of several components use the first of its contexts only.
    fn interruption(
        &mut self,
        component: usize,
        x: usize,
        run_bits: u32,
        several: bool,
    ) -> Option<u16> {
        let Neighbours { a, b, .. } = self.components[component].around(x);
        let parameters = self.parameters;
        // RItype.
        let similar = !several && (a - b).abs() <= parameters.near;
        let (context, negatives) = &mut self.interrupting[usize::from(similar)];
        let more = if similar { context.count >> 1 } else { 0 };
        let k = Context::k(context.size + more, context.count)?;
        let mapped = self
            .bits
            .golomb(k, parameters.limit - run_bits - 1, parameters.wide)?;
        let mapped = parameters.possible(mapped)?;
        let doubled = mapped + i32::from(similar);
        let odd = doubled & 1;
        let size = (doubled + odd) / 2;
        let negative = (k != 0 || 2 * *negatives >= context.count) == (odd == 1);
        let error = if negative { -size } else { size };
        *negatives += i32::from(error < 0);
        context.size += (mapped + 1 - i32::from(similar)) >> 1;
        if context.count == parameters.reset {
            context.size >>= 1;
            context.count >>= 1;
            *negatives >>= 1;
        }
        context.count += 1;
        let (predicted, sign) = match (similar, a > b) {
            (true, _) => (a, 1),
            (false, true) => (b, -1),
            (false, false) => (b, 1),
        };
        Some(parameters.reconstructed(predicted, sign * error))
    }

    /// Writes the line of each component into a row of all components' samples.
    pub(super) fn store(&self, row: &mut [u16], samples: usize, first: usize) {
        for (i, lines) in self.components.iter().enumerate() {
            let places = row.iter_mut().skip(first + i).step_by(samples);
            places
                .zip(&lines.now[1..])
                .for_each(|(place, sample)| *place = *sample);
        }
    }
}

/// The median edge detector (code segment A.5).
fn predicted(around: &Neighbours) -> i32 {
    let Neighbours { a, b, c, .. } = *around;
    if c >= a.max(b) {
        a.min(b)
    } else if c <= a.min(b) {
        a.max(b)
    } else {
        a + b - c
    }
}

/// The error from its code (A.5.2).
fn unmapped(mapped: i32, flipped: bool) -> i32 {
    match (mapped & 1 == 0, flipped) {
        (true, false) => mapped / 2,
        (false, false) => -(mapped + 1) / 2,
        (false, true) => (mapped - 1) / 2,
        (true, true) => -(mapped / 2) - 1,
    }
}
