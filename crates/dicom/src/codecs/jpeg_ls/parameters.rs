//! Parameters of a scan: thresholds, ranges, limits.

/// Parameters of a scan (annexes A.1 and C.2.4.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    /// MAXVAL.
    pub(super) highest: i32,
    pub(super) near: i32,
    /// T1, T2, T3.
    thresholds: [i32; 3],
    pub(super) reset: i32,
    pub(super) range: i32,
    /// qbpp.
    pub(super) wide: u32,
    pub(super) limit: u32,
}

impl Parameters {
    pub(super) fn new(precision: u8, near: u8, preset: [u16; 5]) -> Option<Self> {
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
    pub(super) fn region(&self, gradient: i32) -> i32 {
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
    pub(super) fn possible(&self, mapped: i32) -> Option<i32> {
        (mapped <= 2 * self.range).then_some(mapped)
    }

    /// The sample from its prediction and error, modulo the range (code segments A.8 and A.9).
    pub(super) fn reconstructed(&self, predicted: i32, error: i32) -> u16 {
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
