//! The artefacts of JPEG compression (ITU-T T.81): cosine transform of 8×8 blocks, and rounding of its coefficients.

use crate::Raster;

/// Side of a block.
const SIDE: usize = 8;
/// Values of a block.
const BLOCK: usize = SIDE * SIDE;

/// Annex K's quantization tables for luminance and chrominance, row by row.
const LUMINANCE: [u32; BLOCK] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMINANCE: [u32; BLOCK] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// ½ cos(kπ/16), for k from 0 to 8: literals, because cosines differ between platforms in the last digit.
const HALF_COSINES: [f32; 9] = [
    0.5,
    0.490_392_64,
    0.461_939_77,
    0.415_734_8,
    0.353_553_4,
    0.277_785_12,
    0.191_341_72,
    0.097_545_16,
    0.0,
];

/// Compresses and decompresses an image at a quality from 1 to 100, as libjpeg at full chroma resolution; values are
/// rounded to 8 bits on the way.
pub(crate) fn compress(image: &mut Raster, quality: u8) {
    let (size, channels) = ((image.height, image.width), image.channels);
    let transform = transform();
    let mut planes = planes(&image.data, channels);
    for (number, plane) in planes.iter_mut().enumerate() {
        let base = if number == 0 { LUMINANCE } else { CHROMINANCE };
        quantize_plane(plane, size, &scaled(base, quality), &transform);
    }
    write(&mut image.data, channels, &planes);
}

/// libjpeg's table for a quality: 50 is the standard's own.
fn scaled(base: [u32; BLOCK], quality: u8) -> [f32; BLOCK] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = match quality {
        low @ 1..50 => 5000 / low,
        high => 200 - 2 * high,
    };
    base.map(|step| ((step * percent + 50) / 100).clamp(1, 255) as f32)
}

/// Row u holds the cosines of frequency u; multiplied by its transpose it gives the identity.
fn transform() -> [[f32; SIDE]; SIDE] {
    std::array::from_fn(|u| {
        std::array::from_fn(|x| match u {
            0 => HALF_COSINES[4],
            _ => cosine((2 * x + 1) * u),
        })
    })
}

/// ½ cos(kπ/16).
fn cosine(k: usize) -> f32 {
    let k = k % 32;
    let k = if k > 16 { 32 - k } else { k };
    match k {
        0..=8 => HALF_COSINES[k],
        _ => -HALF_COSINES[16 - k],
    }
}

/// Luminance, and in colour both chrominances, from −128 to 127 (JFIF's conversion).
fn planes(data: &[f32], channels: usize) -> Vec<Vec<f32>> {
    let eight = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round();
    let pixels = || data.chunks_exact(channels);
    let is_grey = channels != 3 || pixels().all(|p| p[0] == p[1] && p[0] == p[2]);
    if is_grey {
        return vec![pixels().map(|p| eight(p[0]) - 128.0).collect()];
    }
    let plane = |[r, g, b]: [f32; 3], offset: f32| {
        let value = |p: &[f32]| r * eight(p[0]) + g * eight(p[1]) + b * eight(p[2]) - offset;
        pixels().map(|p| value(p).round()).collect()
    };
    vec![
        plane([0.299, 0.587, 0.114], 128.0),
        plane([-0.168_735_9, -0.331_264_1, 0.5], 0.0),
        plane([0.5, -0.418_687_6, -0.081_312_4], 0.0),
    ]
}

fn write(data: &mut [f32], channels: usize, planes: &[Vec<f32>]) {
    let unit = |value: f32| (value + 128.0).round().clamp(0.0, 255.0) / 255.0;
    for (index, pixel) in data.chunks_exact_mut(channels).enumerate() {
        match planes {
            [y, cb, cr] => {
                let (y, cb, cr) = (y[index], cb[index], cr[index]);
                let rgb = [
                    y + 1.402 * cr,
                    y - 0.344_136_3 * cb - 0.714_136_3 * cr,
                    y + 1.772 * cb,
                ];
                pixel.copy_from_slice(&rgb.map(unit));
            }
            [y, ..] => pixel.fill(unit(y[index])),
            [] => {}
        }
    }
}

/// Rounds the coefficients of each block. Blocks that exceed the image are filled with its last column and row.
fn quantize_plane(
    plane: &mut [f32],
    (height, width): (usize, usize),
    steps: &[f32; BLOCK],
    transform: &[[f32; SIDE]; SIDE],
) {
    for top in (0..height).step_by(SIDE) {
        for left in (0..width).step_by(SIDE) {
            let mut block = [[0.0; SIDE]; SIDE];
            for (y, row) in block.iter_mut().enumerate() {
                for (x, value) in row.iter_mut().enumerate() {
                    *value = plane[(top + y).min(height - 1) * width + (left + x).min(width - 1)];
                }
            }
            quantize(&mut block, steps, transform);
            let rows = plane[top * width..].chunks_mut(width).take(SIDE);
            for (row, values) in rows.zip(&block) {
                let inside = SIDE.min(width - left);
                row[left..left + inside].copy_from_slice(&values[..inside]);
            }
        }
    }
}

/// Transforms a block, rounds its coefficients to multiples of their steps, and transforms it back.
fn quantize(
    block: &mut [[f32; SIDE]; SIDE],
    steps: &[f32; BLOCK],
    transform: &[[f32; SIDE]; SIDE],
) {
    let back: [[f32; SIDE]; SIDE] =
        std::array::from_fn(|x| std::array::from_fn(|u| transform[u][x]));
    // T · B · Tᵀ
    let mut coefficients = product(&product(transform, block), &back);
    for (value, step) in coefficients.as_flattened_mut().iter_mut().zip(steps) {
        *value = (*value / step).round() * step;
    }
    *block = product(&product(&back, &coefficients), transform);
    for value in block.as_flattened_mut() {
        *value = value.round().clamp(-128.0, 127.0);
    }
}

fn product(a: &[[f32; SIDE]; SIDE], b: &[[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
    let mut out = [[0.0; SIDE]; SIDE];
    for (out, a) in out.iter_mut().zip(a) {
        for (&a, b) in a.iter().zip(b) {
            for (out, b) in out.iter_mut().zip(b) {
                *out += a * b;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_orthonormal() {
        let transform = transform();
        let transposed: [[f32; SIDE]; SIDE] =
            std::array::from_fn(|x| std::array::from_fn(|u| transform[u][x]));
        for (i, row) in product(&transform, &transposed).iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert!((value - f32::from(u8::from(i == j))).abs() < 1e-6);
            }
        }
    }
}
