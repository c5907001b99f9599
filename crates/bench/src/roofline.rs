//! What this machine can do at best, and what follows from it for an operation.

use std::time::{Duration, Instant};

use kernels::{Buffer, Precision, peak};
use serde::Serialize;

use super::ops::{Row, Timing, Work};

/// Each speed is the best of repetitions over this time: a limit is not an average.
const FOR: Duration = Duration::from_millis(200);

/// Measured speeds on all threads of Rayon's current pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roofline {
    /// Floating-point operations per second of `f32` products in registers.
    pub f32: f64,
    /// The same of bf16 products. Where the processor has no instructions for them they are `f32` products, and the
    /// conversions, which are not in this loop, make real ones slower.
    pub bf16: f64,
    /// Bytes read per second where each thread's 16 KiB are in its first-level cache.
    pub first_level: f64,
    /// The same for 256 KiB per thread, which second-level caches hold.
    pub second_level: f64,
    /// The same for 256 MiB in total, which no cache holds.
    pub memory: f64,
}

impl Roofline {
    /// Measures them; takes about a second.
    pub fn measure() -> Self {
        let multiply = |precision| best(|| peak::multiply(precision, 64));
        let read = |bytes: usize| {
            let values = Buffer::zeros(bytes / 4);
            // Small ones are read often, so that waking threads does not count.
            let times = (64 << 20) / bytes + 1;
            best(|| {
                peak::read(&values, times);
                bytes * times
            })
        };
        let threads = rayon::current_num_threads();
        kernels::in_pool(|| Roofline {
            f32: multiply(Precision::F32),
            bf16: multiply(Precision::Bf16),
            first_level: read(threads * (16 << 10)),
            second_level: read(threads * (256 << 10)),
            memory: read(256 << 20),
        })
    }

    /// The seconds that a call needs at least: by its products, of which Winograd's algorithm needs a quarter, or by its
    /// bytes in memory.
    pub fn floor(&self, row: &Row, timing: &Timing) -> f64 {
        let speed = match timing.precision {
            Precision::F32 | Precision::Tf32 => self.f32,
            Precision::Bf16 => self.bf16,
        };
        match timing.work {
            Work::Flops(n) if row.winograd => n as f64 / 4.0 / speed,
            Work::Flops(n) => n as f64 / speed,
            Work::Bytes(n) => n as f64 / self.memory,
        }
    }

    /// The same for all of a row's calls in a step.
    pub fn floor_of(&self, row: &Row) -> f64 {
        let each = row.timings.iter().map(|timing| self.floor(row, timing));
        row.count as f64 * each.sum::<f64>()
    }
}

/// The largest amount per second of a repeated call that returns its amount.
fn best(mut call: impl FnMut() -> usize) -> f64 {
    let (first, mut best) = (Instant::now(), 0.0_f64);
    while first.elapsed() < FOR {
        let start = Instant::now();
        let amount = call();
        best = best.max(amount as f64 / start.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::ops::Part;
    use super::*;

    #[test]
    fn the_floor_is_that_of_the_products_or_of_the_bytes() {
        let roofline = Roofline {
            f32: 100.0,
            bf16: 200.0,
            first_level: 4.0,
            second_level: 3.0,
            memory: 2.0,
        };
        let row = |winograd, work, precision| Row {
            operation: String::new(),
            winograd,
            count: 3,
            timings: vec![Timing {
                part: Part::Forward,
                work,
                precision,
                seconds: 9.0,
            }],
        };
        let [f32, bf16] = [Precision::F32, Precision::Bf16];
        let floor = |winograd, work, precision| roofline.floor_of(&row(winograd, work, precision));
        assert_eq!(floor(false, Work::Flops(400), f32), 12.0);
        assert_eq!(floor(true, Work::Flops(400), f32), 3.0);
        assert_eq!(floor(false, Work::Flops(400), bf16), 6.0);
        assert_eq!(floor(false, Work::Bytes(8), bf16), 12.0);
    }

    #[test]
    fn speeds_are_those_of_a_machine() {
        let measured = Roofline::measure();
        let Roofline {
            f32,
            bf16,
            first_level,
            memory,
            ..
        } = measured;
        // No machine is slower than 10^8 or faster than 10^16, and its caches are no slower than its memory.
        assert!(
            [f32, bf16, memory].iter().all(|x| (1e8..1e16).contains(x)),
            "{measured:?}"
        );
        assert!(first_level > memory, "{measured:?}");
    }
}
