//! JPEG-LS (ITU-T T.87 | ISO/IEC 14495-1), lossless and near-lossless, in every interleaving.
//!
//! Why our own: the decoders in Rust read neither near-lossless nor interleaved streams, or bring a DICOM toolkit with
//! them; CharLS needs a C++ compiler. Comments name the standard's variables and code segments.

use decoding::jpeg::{next_marker, segment};

use super::Shape;
use super::jpeg_bits::ScanBits;
use crate::frame::Samples;
use crate::layout::Layout;

pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    let mut stream = Stream::default();
    let mut at = 2;
    let cut = || "truncated: its JPEG-LS data are not complete".to_owned();
    while stream.received < usize::from(layout.samples) {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let body = segment(bytes, &mut at).ok_or_else(cut)?;
        match marker {
            0xF7 => stream.frame(body, layout)?,
            0xF8 => stream.preset(body)?,
            0xDA => at += stream.scan(body, bytes.get(at..).unwrap_or_default())?,
            0xDD => return Err("its JPEG-LS has restart intervals, which are not read".to_owned()),
            _ => {}
        }
    }
    let shape = stream.shape.ok_or_else(|| damaged("it has no frame"))?;
    Ok(shape.contained(stream.samples, layout, false))
}

fn damaged(what: &str) -> String {
    format!("its JPEG-LS is damaged: {what}")
}

/// What the markers state, and the samples so far.
#[derive(Default)]
struct Stream {
    shape: Option<Shape>,
    components: Vec<u8>,
    /// MAXVAL, T1, T2, T3, RESET of a preset; zeros for the defaults.
    preset: [u16; 5],
    samples: Vec<u16>,
    /// Components that have been decoded.
    received: usize,
}

impl Stream {
    fn frame(&mut self, body: &[u8], layout: &Layout) -> Result<(), String> {
        let &[precision, h1, h0, w1, w0, n, ref listed @ ..] = body else {
            return Err(damaged("the header of its frame"));
        };
        let shape = Shape {
            rows: u16::from_be_bytes([h1, h0]).into(),
            columns: u16::from_be_bytes([w1, w0]).into(),
            samples: n.into(),
            precision,
        };
        shape.check(layout)?;
        let listed = listed.as_chunks::<3>().0;
        if self.shape.is_some() || !(2..=16).contains(&precision) || listed.len() != usize::from(n)
        {
            return Err(damaged("the header of its frame"));
        }
        if listed.iter().any(|component| component[1] != 0x11) {
            return Err(
                "its JPEG-LS has components of different sizes, which is not read".to_owned(),
            );
        }
        self.components = listed.iter().map(|component| component[0]).collect();
        self.samples = vec![0; layout.pixels() * usize::from(n)];
        self.shape = Some(shape);
        Ok(())
    }

    fn preset(&mut self, body: &[u8]) -> Result<(), String> {
        let (kind, body) = body
            .split_first()
            .ok_or_else(|| damaged("its preset parameters"))?;
        match (kind, body.as_chunks::<2>().0) {
            (1, [a, b, c, d, e]) => {
                self.preset = [a, b, c, d, e].map(|word| u16::from_be_bytes(*word));
                Ok(())
            }
            _ => Err("its JPEG-LS has parameters that are not read".to_owned()),
        }
    }

    /// Decodes a scan; returns the number of its bytes.
    fn scan(&mut self, header: &[u8], bytes: &[u8]) -> Result<usize, String> {
        let broken = || damaged("the header of a scan");
        let shape = self
            .shape
            .ok_or_else(|| damaged("a scan before its frame"))?;
        let (&n, rest) = header.split_first().ok_or_else(broken)?;
        let n = usize::from(n);
        let (listed, rest) = rest.split_at_checked(2 * n).ok_or_else(broken)?;
        let &[near, interleave, transform] = rest else {
            return Err(broken());
        };
        if transform != 0 || listed.chunks(2).any(|component| component[1] != 0) {
            return Err(
                "its JPEG-LS has a point transform or mapping tables, which are not read"
                    .to_owned(),
            );
        }
        let first = self
            .components
            .iter()
            .position(|id| Some(id) == listed.first())
            .ok_or_else(broken)?;
        let ids = listed.iter().step_by(2);
        let ordered = self
            .components
            .get(first..first + n)
            .is_some_and(|own| own.iter().eq(ids));
        let order = match interleave {
            0 if n == 1 => Order::Line,
            1 => Order::Line,
            2 => Order::Sample,
            _ => return Err(broken()),
        };
        if !ordered || first != self.received {
            return Err(broken());
        }
        let parameters = Parameters::new(shape.precision, near, self.preset)
            .ok_or_else(|| damaged("its parameters"))?;
        let mut scan = Scan::new(parameters, bytes, shape.columns as usize, n);
        let rows = self
            .samples
            .chunks_exact_mut(shape.columns as usize * self.components.len());
        for (y, row) in rows.enumerate() {
            let line = scan.line(order);
            line.ok_or_else(|| {
                format!(
                    "truncated or damaged: its JPEG-LS data end in row {y} of {}",
                    shape.rows
                )
            })?;
            scan.store(row, self.components.len(), first);
        }
        self.received += n;
        Ok(scan.bits.at())
    }
}

#[derive(Clone, Copy)]
enum Order {
    /// The lines of the components in turn.
    Line,
    /// The samples of a pixel in turn.
    Sample,
}

/// Parameters of a scan (annexes A.1 and C.2.4.1.1).
#[derive(Clone, Copy, Debug)]
struct Parameters {
    /// MAXVAL.
    highest: i32,
    near: i32,
    /// T1, T2, T3.
    thresholds: [i32; 3],
    reset: i32,
    range: i32,
    /// qbpp.
    wide: u32,
    limit: u32,
}

impl Parameters {
    fn new(precision: u8, near: u8, preset: [u16; 5]) -> Option<Self> {
        let [highest, t1, t2, t3, reset] = preset.map(i32::from);
        let or = |value: i32, default: i32| if value == 0 { default } else { value };
        let highest = or(highest, (1 << precision) - 1);
        let near = i32::from(near);
        if highest >= 1 << precision || near > (highest / 2).min(255) {
            return None;
        }
        let [d1, d2, d3] = default_thresholds(highest, near);
        let thresholds = [or(t1, d1), or(t2, d2), or(t3, d3)];
        let reset = or(reset, 64);
        let ascending = near < thresholds[0]
            && thresholds.is_sorted()
            && thresholds[2] <= highest.max(near + 1);
        if !ascending || reset < 3 {
            return None;
        }
        let range = (highest + 2 * near) / (2 * near + 1) + 1;
        let bits = |values: i32| u32::BITS - (values - 1).leading_zeros();
        let bpp = bits(highest + 1).max(2);
        Some(Self {
            highest,
            near,
            thresholds,
            reset,
            range,
            wide: bits(range),
            limit: 2 * (bpp + bpp.max(8)),
        })
    }

    /// Quantizes a gradient (code segment A.4).
    fn region(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let region = match size {
            _ if size <= self.near => 0,
            _ if size < t1 => 1,
            _ if size < t2 => 2,
            _ if size < t3 => 3,
            _ => 4,
        };
        region * gradient.signum()
    }

    /// The code of an error; one that no encoder writes would make the sums overflow.
    fn possible(&self, mapped: i32) -> Option<i32> {
        (mapped <= 2 * self.range).then_some(mapped)
    }

    /// The sample from its prediction and error, modulo the range (code segments A.8 and A.9).
    fn reconstructed(&self, predicted: i32, error: i32) -> u16 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.highest + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.highest) as u16
    }
}

fn default_thresholds(highest: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, low: i32| {
        if value > highest || value < low {
            low
        } else {
            value
        }
    };
    let basic = [3, 7, 21];
    let [a, b, c] = if highest >= 128 {
        let factor = (highest.min(4095) + 128) / 256;
        [
            factor * (basic[0] - 2) + 2 + 3 * near,
            factor * (basic[1] - 3) + 3 + 5 * near,
            factor * (basic[2] - 4) + 4 + 7 * near,
        ]
    } else {
        let factor = 256 / (highest + 1);
        [
            (basic[0] / factor + 3 * near).max(2),
            (basic[1] / factor + 5 * near).max(3),
            (basic[2] / factor + 7 * near).max(4),
        ]
    };
    let t1 = clamp(a, near + 1);
    let t2 = clamp(b, t1);
    [t1, t2, clamp(c, t2)]
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

struct Scan<'b> {
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
    fn new(parameters: Parameters, bytes: &'b [u8], width: usize, components: usize) -> Self {
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

    /// Decodes a line of each component; `None` if the data end or are damaged.
    fn line(&mut self, order: Order) -> Option<()> {
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
    fn store(&self, row: &mut [u16], samples: usize, first: usize) {
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
