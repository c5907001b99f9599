//! Which values become black and white: windows and VOI LUTs (PS3.3, C.11.2).

use serde::{Deserialize, Serialize};

use crate::dataset::DataSet;
use crate::header::Groups;
use crate::layout::Layout;
use crate::lut::Lut;
use crate::tags;

/// Which values of a grey image become black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub enum Window {
    /// The file's own (`"auto"`): its first VOI LUT, otherwise its first window, otherwise as [`Window::Full`].
    #[default]
    Auto,
    /// All values that the stored bits and the rescaling allow (`"full"`).
    Full,
    /// From the 0.5th to the 99.5th percentile of the image's values, without padding (`"percentile"`).
    Percentile,
    /// `{ center = C, width = W }`, from C − W/2 to C + W/2, in the unit of the Modality LUT (for CT, HU).
    Fixed {
        /// The value that becomes medium grey.
        center: f64,
        /// The distance from black to white; greater than 0.
        width: f64,
    },
}

/// As written in settings: a word or a table.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"auto\", \"full\", \"percentile\" or { center = C, width = W }"
)]
enum Raw {
    Word(String),
    Fixed(Fixed),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixed {
    center: f64,
    width: f64,
}

impl TryFrom<Raw> for Window {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Word(word) => match word.as_str() {
                "auto" => Ok(Self::Auto),
                "full" => Ok(Self::Full),
                "percentile" => Ok(Self::Percentile),
                _ => Err(format!(
                    "window = \"{word}\" is unknown: write \"auto\", \"full\", \"percentile\" or {{ center = C, width = W }}"
                )),
            },
            Raw::Fixed(Fixed { center, width })
                if center.is_finite() && width > 0. && width.is_finite() =>
            {
                Ok(Self::Fixed { center, width })
            }
            Raw::Fixed(Fixed { center, width }) => Err(format!(
                "window = {{ center = {center}, width = {width} }}: the width must be greater than 0, and both finite"
            )),
        }
    }
}

impl From<Window> for Raw {
    fn from(window: Window) -> Self {
        match window {
            Window::Auto => Self::Word("auto".into()),
            Window::Full => Self::Word("full".into()),
            Window::Percentile => Self::Word("percentile".into()),
            Window::Fixed { center, width } => Self::Fixed(Fixed { center, width }),
        }
    }
}

/// From black to white, linearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Values up to this one are black.
    pub black: f64,
    /// Values above this one are white.
    pub white: f64,
}

impl Line {
    /// Shares of the values below [`Window::Percentile`].
    const PERCENTILES: [f64; 2] = [0.005, 0.995];

    /// The line of [`Window::Fixed`] (PS3.3, C.11.2.1.3.2).
    pub fn exactly(center: f64, width: f64) -> Self {
        Self {
            black: center - width / 2.,
            white: center + width / 2.,
        }
    }

    /// The line of [`Window::Percentile`] over `n` values, of which `at` gives the one of a rank from 0: as NumPy's
    /// `percentile`, which interpolates linearly between the two nearest values.
    pub fn of_percentiles(n: usize, at: impl Fn(usize) -> f64) -> Self {
        let [black, white] = Self::PERCENTILES.map(|share| {
            let place = share * n.saturating_sub(1) as f64;
            let (below, above) = (at(place.floor() as usize), at(place.ceil() as usize));
            below + (above - below) * place.fract()
        });
        Self { black, white }
    }

    /// From 0 for black to 1 for white.
    pub fn grey(&self, value: f64) -> f64 {
        match *self {
            Self { black, .. } if value <= black => 0.,
            Self { white, .. } if value > white => 1.,
            Self { black, white } => (value - black) / (white - black),
        }
    }
}

/// A function from values of the modality to grey.
#[derive(Clone, Debug)]
pub(crate) enum Voi {
    Line(Line),
    Sigmoid { center: f64, width: f64 },
    Table(Lut),
}

impl Voi {
    /// The file's first VOI LUT, otherwise its first window; `None` if it has neither.
    pub(crate) fn of(groups: Groups<'_, '_>, layout: &Layout) -> Result<Option<Self>, String> {
        let tables = groups
            .with(tags::VOI_LUT, tags::FRAME_VOI)
            .items(tags::VOI_LUT);
        if let Some(item) = tables
            .iter()
            .find(|item| item.bytes(tags::LUT_DATA).is_some())
        {
            return Ok(Some(Self::Table(Lut::of_item(item, layout.signed)?)));
        }
        let set = groups.with(tags::WINDOW_CENTER, tags::FRAME_VOI);
        let center = set.number(tags::WINDOW_CENTER, "Window Center")?;
        let width = set.number(tags::WINDOW_WIDTH, "Window Width")?;
        let (Some(center), Some(width)) = (center, width) else {
            return Ok(None);
        };
        Self::of_window(set, center, width).map(Some)
    }

    fn of_window(set: &DataSet<'_>, center: f64, width: f64) -> Result<Self, String> {
        let function = set
            .text(tags::VOI_FUNCTION)
            .unwrap_or_else(|| "LINEAR".to_owned());
        let least = if function == "LINEAR" {
            1.
        } else {
            f64::MIN_POSITIVE
        };
        if width < least {
            return Err(format!(
                "its window of center {center} and width {width} shows nothing; choose another one than its own"
            ));
        }
        match function.as_str() {
            // C.11.2.1.2.1: from x ≤ c − 0.5 − (w − 1)/2 to x > c − 0.5 + (w − 1)/2.
            "LINEAR" => Ok(Self::Line(Line {
                black: center - 0.5 - (width - 1.) / 2.,
                white: center - 0.5 + (width - 1.) / 2.,
            })),
            "LINEAR_EXACT" => Ok(Self::Line(Line::exactly(center, width))),
            "SIGMOID" => Ok(Self::Sigmoid { center, width }),
            _ => Err(format!(
                "its VOI LUT Function {} is {function:?}, which is not read",
                tags::VOI_FUNCTION
            )),
        }
    }

    /// From 0 for black to 1 for white.
    pub(crate) fn grey(&self, value: f64) -> f64 {
        match self {
            Self::Line(line) => line.grey(value),
            Self::Sigmoid { center, width } => 1. / (1. + (-4. * (value - center) / width).exp()),
            Self::Table(lut) => f64::from(lut.at(value as i64)) / lut.highest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 for an output from 0 to 255.
    #[test]
    fn windows_follow_the_standard() {
        let (c, w) = (100., 50.);
        let linear = |x: f64| {
            if x <= c - 0.5 - (w - 1.) / 2. {
                0.
            } else if x > c - 0.5 + (w - 1.) / 2. {
                255.
            } else {
                ((x - (c - 0.5)) / (w - 1.) + 0.5) * 255.
            }
        };
        let exact = |x: f64| {
            if x <= c - w / 2. {
                0.
            } else if x > c + w / 2. {
                255.
            } else {
                ((x - c) / w + 0.5) * 255.
            }
        };
        let sigmoid = |x: f64| 255. / (1. + f64::exp(-4. * (x - c) / w));
        let check = |voi: Voi, expected: &dyn Fn(f64) -> f64| {
            for x in -400..800 {
                let x = f64::from(x) / 2.;
                let found = 255. * voi.grey(x);
                assert!((found - expected(x)).abs() < 1e-9, "{voi:?} {x}: {found}");
            }
        };
        let set = DataSet::default();
        check(Voi::of_window(&set, c, w).unwrap(), &linear);
        check(Voi::Line(Line::exactly(c, w)), &exact);
        check(
            Voi::Sigmoid {
                center: c,
                width: w,
            },
            &sigmoid,
        );
        // A width of 1 is a threshold.
        let threshold = Voi::of_window(&set, c, 1.).unwrap();
        assert_eq!(
            [99., 99.5, 99.6, 100.].map(|x| threshold.grey(x)),
            [0., 0., 1., 1.]
        );
        assert!(Voi::of_window(&set, c, 0.5).unwrap_err().contains("0.5"));
    }
}
