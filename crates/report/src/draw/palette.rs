//! The colours of all figures.
//!
//! Series use the colours of Okabe and Ito (2008), which remain distinguishable under all common forms of colour
//! blindness, ordered by contrast on white, strongest first.

use plotters_backend::BackendColor;

/// An opaque sRGB colour with 8 bits per channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

/// Okabe–Ito blue.
pub const BLUE: Color = Color(0, 114, 178);
/// Okabe–Ito vermillion.
pub const VERMILLION: Color = Color(213, 94, 0);
/// Okabe–Ito bluish green.
pub const GREEN: Color = Color(0, 158, 115);
/// Okabe–Ito reddish purple.
pub const PURPLE: Color = Color(204, 121, 167);
/// Okabe–Ito orange.
pub const ORANGE: Color = Color(230, 159, 0);
/// Okabe–Ito sky blue.
pub const SKY: Color = Color(86, 180, 233);
/// Okabe–Ito yellow: too light for lines on white, good for contours on grey images.
pub const YELLOW: Color = Color(240, 228, 66);

/// Text and axes.
pub const INK: Color = Color(33, 37, 41);
/// Secondary text.
pub const MUTED: Color = Color(95, 103, 112);
/// Grid lines and frames.
pub const GRID: Color = Color(222, 226, 230);
/// Page background.
pub const PAPER: Color = Color(255, 255, 255);

/// The tint of pixels whose class map reaches the threshold.
pub const OVERLAY_GREEN: Color = Color(0, 230, 64);
/// Border and text of a correct prediction.
pub const RIGHT: Color = GREEN;
/// Border and text of an incorrect prediction.
pub const WRONG: Color = VERMILLION;
/// In truth and prediction.
pub const TRUE_POSITIVE: Color = GREEN;
/// In the prediction, not in the truth.
pub const FALSE_POSITIVE: Color = VERMILLION;
/// In the truth, not in the prediction.
pub const FALSE_NEGATIVE: Color = SKY;
/// Predicted as the wrong class, where neither class is the background.
pub const CONFUSED: Color = PURPLE;

/// The colours of series, in order. Black, a grey, a wine red (Paul Tol) and an olive extend the six of Okabe and Ito,
/// so that ten classes can be distinguished.
const SERIES: [Color; 10] = [
    BLUE,
    VERMILLION,
    GREEN,
    PURPLE,
    ORANGE,
    SKY,
    Color(0, 0, 0),
    Color(140, 140, 140),
    Color(136, 34, 85),
    Color(180, 170, 30),
];

/// The colour of the series number `index`, counted from 0; repeats after ten.
pub fn series(index: usize) -> Color {
    SERIES[index % SERIES.len()]
}

/// The colour of a pixel class over a grey image, counted from 1; repeats after six. The first three differ from the
/// colours of the errors, which are shown next to them.
pub fn pixels(class: usize) -> Color {
    const COLORS: [Color; 6] = [YELLOW, BLUE, ORANGE, SKY, GREEN, PURPLE];
    COLORS[class.saturating_sub(1) % COLORS.len()]
}

impl Color {
    /// The channels as red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        [self.0, self.1, self.2]
    }

    /// Interpolates towards `other`: a `share` of 0 gives `self`, 1 gives `other`.
    pub fn toward(self, other: Color, share: f64) -> Color {
        let mix =
            |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
        Color(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }

    /// Rec. 709 luma of the gamma-coded channels, 0..=1: enough to choose black or white text.
    pub fn luma(self) -> f64 {
        let [r, g, b] = self.rgb().map(f64::from);
        (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255.0
    }

    pub(crate) fn backend(self) -> BackendColor {
        BackendColor {
            alpha: 1.0,
            rgb: (self.0, self.1, self.2),
        }
    }
}
