//! The crate's own sines, powers and exponentials: the platform's differ in the last bit from one libm to the
//! next, while these are reproducible and vectorise.

use std::f64::consts::PI;

/// Sine and cosine of an angle in degrees; multiples of 90° are exact.
pub(crate) fn sin_cos_degrees(degrees: f64) -> (f64, f64) {
    let quarter = (degrees / 90.0).round();
    let (sin, cos) = sin_cos_small((degrees - 90.0 * quarter) * (PI / 180.0));
    match quarter.rem_euclid(4.0) as u8 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// Taylor series for `|radians| ≤ π/4`, where the first omitted term is below 5e-17.
fn sin_cos_small(radians: f64) -> (f64, f64) {
    let square = radians * radians;
    // Horner's scheme in 1 − z/((k+1)(k+2))·(…), from the highest term down.
    let series = |first: u32| {
        (0..8).rev().fold(1.0, |tail, step| {
            let k = f64::from(first + 2 * step);
            1.0 - square / ((k + 1.0) * (k + 2.0)) * tail
        })
    };
    (radians * series(1), series(0))
}

/// `base` to the power `exponent` for a base in `[0, 1]` and a positive exponent; 0 for a base of 0.
///
/// Relative error below 1e-6 times the exponent over the values of an image.
#[inline(always)]
pub(crate) fn pow(base: f32, exponent: f32) -> f32 {
    let power = exp2(exponent * log2(base));
    if base < f32::MIN_POSITIVE { 0.0 } else { power }
}

/// 2 to the power `x`; `x` is clamped to the exponents of normal numbers.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer without SSE4.1's instruction.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-126.0, 126.0);
    let whole = (x + ROUND) - ROUND;
    let f = (x - whole) * std::f32::consts::LN_2;
    // e^f for |f| ≤ 0.347: the first omitted term is 1.2e-7.
    let tail = f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0)));
    let mantissa = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + tail)));
    mantissa * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Logarithm to base 2 of a positive normal number.
#[inline(always)]
pub(crate) fn log2(x: f32) -> f32 {
    // Split x = m·2^e with m in [√½, √2), then log m = 2·artanh((m − 1)/(m + 1)) by its series.
    const SQRT_HALF: u32 = 0x3F35_04F3;
    let exponent = (x.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0))));
    exponent as f32 + s * series * (2.0 * std::f32::consts::LOG2_E)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_agree_with_the_platform() {
        for step in -8000..8000 {
            let degrees = f64::from(step) * 0.0931;
            let ((sin, cos), radians) = (sin_cos_degrees(degrees), degrees.to_radians());
            assert!(
                (sin - radians.sin()).abs() < 1e-14 && (cos - radians.cos()).abs() < 1e-14,
                "{degrees}"
            );
        }
    }

    #[test]
    fn quarter_turns_are_exact() {
        let turns = [-90.0, 0.0, 90.0, 180.0, 270.0].map(sin_cos_degrees);
        assert_eq!(
            turns,
            [
                (-1.0, 0.0),
                (0.0, 1.0),
                (1.0, 0.0),
                (0.0, -1.0),
                (-1.0, 0.0)
            ]
        );
    }

    #[test]
    fn powers_agree_with_the_platform() {
        for exponent in [0.3f32, 0.8, 1.0, 1.25, 3.0] {
            for step in 1..=1000 {
                let base = step as f32 / 1000.0;
                let (ours, theirs) = (
                    pow(base, exponent),
                    f64::from(base).powf(f64::from(exponent)) as f32,
                );
                assert!(
                    (ours - theirs).abs() <= 2e-6 * theirs,
                    "{base}^{exponent}: {ours}, {theirs}"
                );
            }
        }
        assert_eq!(
            (pow(0.0, 0.5), pow(1e-42, 0.5), pow(1.0, 0.7)),
            (0.0, 0.0, 1.0)
        );
    }
}
