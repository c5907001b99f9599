//! The image pixel module (PS3.3, C.7.6.3): shape, bits and colour of the pixels.

use crate::dataset::{DataSet, Value};
use crate::tags::{self, Tag};

/// Shape, bits and colour of the pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) frames: u32,
    pub(crate) samples: u16,
    pub(crate) allocated: u16,
    pub(crate) stored: u16,
    pub(crate) high_bit: u16,
    pub(crate) signed: bool,
    /// Whether the samples of a colour follow each other as planes.
    pub(crate) planar: bool,
    pub(crate) photometric: Photometric,
}

/// What samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Photometric {
    /// Grey, the lowest value white.
    Monochrome1,
    /// Grey, the lowest value black.
    Monochrome2,
    Palette,
    /// Also what JPEG 2000 codes as YBR_RCT and YBR_ICT: its decoder returns RGB.
    Rgb,
    YbrFull,
    /// Two columns share their chroma.
    YbrFull422,
}

impl Layout {
    pub(crate) fn of(set: &DataSet<'_>, max_pixels: u64) -> Result<Self, String> {
        let value = set.element(tags::PIXELS);
        if value.is_none() {
            return Err(without_pixels(set));
        }
        let need = |tag: Tag, name: &str| {
            set.u16(tag)
                .ok_or_else(|| format!("it has no {name} {tag}"))
        };
        let (rows, columns) = (need(tags::ROWS, "Rows")?, need(tags::COLUMNS, "Columns")?);
        let photometric = photometric(set)?;
        let allocated = need(tags::BITS_ALLOCATED, "Bits Allocated")?;
        let stored = set.u16(tags::BITS_STORED).unwrap_or(allocated);
        let layout = Self {
            rows: rows.into(),
            columns: columns.into(),
            frames: frames(set)?,
            samples: set.u16(tags::SAMPLES).unwrap_or(1),
            allocated,
            stored,
            high_bit: set.u16(tags::HIGH_BIT).unwrap_or(stored.wrapping_sub(1)),
            signed: set.u16(tags::SIGNED) == Some(1),
            planar: set.u16(tags::PLANAR) == Some(1),
            photometric,
        };
        layout.check(max_pixels)?;
        Ok(layout)
    }

    fn check(&self, max_pixels: u64) -> Result<(), String> {
        let Self { rows, columns, .. } = *self;
        if rows == 0 || columns == 0 {
            return Err(format!("it is {columns}x{rows} pixels"));
        }
        if u64::from(rows) * u64::from(columns) > max_pixels {
            return Err(format!(
                "it is {columns}x{rows} pixels, more than {} megapixels; raise image.max_megapixels to read it",
                max_pixels as f64 / 1e6
            ));
        }
        let samples = match self.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 | Photometric::Palette => 1,
            Photometric::Rgb | Photometric::YbrFull | Photometric::YbrFull422 => 3,
        };
        if self.samples != samples {
            return Err(format!(
                "its Samples per Pixel {} is {}, but its Photometric Interpretation {} has {samples}",
                tags::SAMPLES,
                self.samples,
                tags::PHOTOMETRIC
            ));
        }
        self.check_bits()
    }

    fn check_bits(&self) -> Result<(), String> {
        if !matches!((self.allocated, self.samples), (1, 1) | (8 | 16 | 32, _)) {
            return Err(format!(
                "it has {} bits allocated; 1, 8, 16 and 32 are read",
                self.allocated
            ));
        }
        let ybr = matches!(
            self.photometric,
            Photometric::YbrFull | Photometric::YbrFull422
        );
        if ybr && self.allocated != 8 {
            return Err(format!(
                "it has YBR colours of {} bits; 8 are read",
                self.allocated
            ));
        }
        let possible = (1..=self.allocated).contains(&self.stored)
            && self.high_bit < self.allocated
            && self.high_bit + 1 >= self.stored;
        if !possible {
            return Err(format!(
                "its bits are damaged: {} stored of {} allocated, the high bit is {}",
                self.stored, self.allocated, self.high_bit
            ));
        }
        Ok(())
    }

    /// Pixels of a frame.
    pub(crate) fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    pub(crate) fn is_grey(&self) -> bool {
        matches!(
            self.photometric,
            Photometric::Monochrome1 | Photometric::Monochrome2
        )
    }

    /// The value of a sample: the stored bits of its container, with their sign.
    pub(crate) fn value(&self, container: u32) -> i64 {
        let shifted = container >> (self.high_bit + 1 - self.stored);
        let unused = 32 - u32::from(self.stored);
        match self.signed {
            true => i64::from(((shifted << unused) as i32) >> unused),
            false => i64::from((shifted << unused) >> unused),
        }
    }

    /// Lowest and highest value that the stored bits can have.
    pub(crate) fn range(&self) -> (i64, i64) {
        match self.signed {
            true => (-(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1),
            false => (0, (1 << self.stored) - 1),
        }
    }
}

fn without_pixels(set: &DataSet<'_>) -> String {
    let float = [tags::FLOAT_PIXELS, tags::DOUBLE_PIXELS];
    if float.iter().any(|tag| set.element(*tag).is_some()) {
        return "its pixels are floating-point numbers, which are not read".to_owned();
    }
    match set.text(tags::MODALITY) {
        Some(modality) => format!("it holds no image; its modality is {modality}"),
        None => "it holds no image".to_owned(),
    }
}

fn photometric(set: &DataSet<'_>) -> Result<Photometric, String> {
    let name = set.text(tags::PHOTOMETRIC);
    let name =
        name.ok_or_else(|| format!("it has no Photometric Interpretation {}", tags::PHOTOMETRIC))?;
    Ok(match name.as_str() {
        "MONOCHROME1" => Photometric::Monochrome1,
        "MONOCHROME2" => Photometric::Monochrome2,
        "PALETTE COLOR" => Photometric::Palette,
        "RGB" | "YBR_RCT" | "YBR_ICT" => Photometric::Rgb,
        "YBR_FULL" => Photometric::YbrFull,
        "YBR_FULL_422" => Photometric::YbrFull422,
        _ => {
            return Err(format!(
                "its Photometric Interpretation is {name:?}, which is not read"
            ));
        }
    })
}

fn frames(set: &DataSet<'_>) -> Result<u32, String> {
    let Some(number) = set.number(tags::FRAMES, "Number of Frames")? else {
        return Ok(1);
    };
    match number {
        1.0..=4294967295.0 if number.fract() == 0. => Ok(number as u32),
        // Written for "none given".
        0. => Ok(1),
        _ => Err(format!("its Number of Frames {} is {number}", tags::FRAMES)),
    }
}

/// Whether the pixels are encapsulated, as those of compressed transfer syntaxes are.
pub(crate) fn encapsulated<'s, 'b>(set: &'s DataSet<'b>) -> Option<&'s [&'b [u8]]> {
    match &set.element(tags::PIXELS)?.value {
        Value::Fragments(fragments) => Some(fragments),
        _ => None,
    }
}
