//! Perceptually ordered colour maps.

use super::palette::Color;

/// A colour map whose lightness increases monotonically from 0 to 1, so that it remains readable in greyscale.
/// Interpolated in sRGB between eleven of matplotlib's 256 control points; no channel differs from matplotlib's by more
/// than 14 of 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colormap {
    /// From dark violet via teal to yellow.
    Viridis,
    /// From black via violet and orange to pale yellow.
    #[default]
    Inferno,
}

const VIRIDIS: [u32; 11] = [
    0x440154, 0x482576, 0x414487, 0x35608D, 0x2A788E, 0x21908C, 0x22A884, 0x43BF71, 0x7AD151,
    0xBBDF27, 0xFDE725,
];
const INFERNO: [u32; 11] = [
    0x000004, 0x160B39, 0x420A68, 0x6A176E, 0x932667, 0xBC3754, 0xDD513A, 0xF37819, 0xFCA50A,
    0xF6D746, 0xFCFFA4,
];

impl Colormap {
    /// The colour of `value`, clamped to 0..=1; NaN gives the colour of 0.
    pub fn color(self, value: f64) -> Color {
        let points = match self {
            Colormap::Viridis => &VIRIDIS,
            Colormap::Inferno => &INFERNO,
        };
        let value = if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        };
        let position = value * (points.len() - 1) as f64;
        let low = (position as usize).min(points.len() - 2);
        unpack(points[low]).toward(unpack(points[low + 1]), position - low as f64)
    }
}

fn unpack(rgb: u32) -> Color {
    let [_, r, g, b] = rgb.to_be_bytes();
    Color(r, g, b)
}
