//! Grey images: stored values to modality values to grey, with padding as background.

use std::ops::RangeInclusive;

use image::{DynamicImage, ImageBuffer};

use crate::dataset::DataSet;
use crate::header::Groups;
use crate::layout::{Layout, Photometric};
use crate::modality::Modality;
use crate::samples::Samples;
use crate::tags;
use crate::window::{Line, Voi, Window};

/// What turns the stored values of a grey image into grey.
pub(crate) struct Grey {
    layout: Layout,
    modality: Modality,
    /// The file's own VOI LUT or window.
    own: Option<Voi>,
    /// Stored values of pixels that are not part of the image.
    padding: Option<RangeInclusive<i64>>,
}

impl Grey {
    pub(crate) fn of(
        groups: Groups<'_, '_>,
        layout: Layout,
        window: Window,
    ) -> Result<Self, String> {
        Ok(Self {
            layout,
            modality: Modality::of(groups, &layout)?,
            // Another window makes an unusable one of the file's readable.
            own: match window {
                Window::Auto => Voi::of(groups, &layout)?,
                _ => None,
            },
            padding: padding(groups.set, &layout),
        })
    }

    /// The value of each pixel in the modality's unit.
    pub(crate) fn modality_values(&self, samples: &Samples) -> Vec<f64> {
        samples.map(|container| self.modality.value(self.layout.value(container)))
    }

    /// The value of each pixel after the window, from the lowest to the highest that the modality allows; after a table,
    /// its entry; without any, the modality's value.
    pub(crate) fn voi_values(&self, samples: &Samples, window: Window) -> Vec<f64> {
        if window == Window::Auto && self.own.is_none() {
            return self.modality_values(samples);
        }
        let voi = self.voi(samples, window);
        let (low, high) = match &voi {
            Voi::Table(lut) => (0., lut.highest()),
            _ => self.modality.range(&self.layout),
        };
        samples.map(|container| {
            let value = self.modality.value(self.layout.value(container));
            voi.grey(value) * (high - low) + low
        })
    }

    /// The image: 8 bits if its samples have no more, otherwise 16.
    pub(crate) fn image(&self, samples: &Samples, window: Window) -> Result<DynamicImage, String> {
        let voi = self.voi(samples, window);
        let (columns, rows) = (self.layout.columns, self.layout.rows);
        let image = match self.layout.stored {
            ..=8 => {
                let pixels = mapped(samples, |container| {
                    (self.grey(container, &voi) * 255.).round() as u8
                });
                ImageBuffer::from_raw(columns, rows, pixels).map(DynamicImage::ImageLuma8)
            }
            _ => {
                let pixels = mapped(samples, |container| {
                    (self.grey(container, &voi) * 65535.).round() as u16
                });
                ImageBuffer::from_raw(columns, rows, pixels).map(DynamicImage::ImageLuma16)
            }
        };
        image.ok_or_else(|| "its pixels are not complete".to_owned())
    }

    /// From 0 for black to 1 for white.
    fn grey(&self, container: u32, voi: &Voi) -> f64 {
        let stored = self.layout.value(container);
        if self.is_padding(stored) {
            return 0.;
        }
        let grey = voi.grey(self.modality.value(stored));
        match self.layout.photometric {
            Photometric::Monochrome1 => 1. - grey,
            _ => grey,
        }
    }

    fn voi(&self, samples: &Samples, window: Window) -> Voi {
        match (window, &self.own) {
            (Window::Auto, Some(own)) => own.clone(),
            (Window::Fixed { center, width }, _) => Voi::Line(Line::exactly(center, width)),
            (Window::Percentile, _) => Voi::Line(self.percentiles(samples)),
            _ => {
                let (black, white) = self.modality.range(&self.layout);
                Voi::Line(Line { black, white })
            }
        }
    }

    fn percentiles(&self, samples: &Samples) -> Line {
        let mut values: Vec<f64> = match samples {
            Samples::U8(_) | Samples::U16(_) => return self.percentiles_by_count(samples),
            Samples::U32(samples) => {
                let stored = samples
                    .iter()
                    .map(|&container| self.layout.value(container));
                let own = stored.filter(|stored| !self.is_padding(*stored));
                own.map(|stored| self.modality.value(stored)).collect()
            }
        };
        values.sort_unstable_by(f64::total_cmp);
        let at = |rank: usize| values.get(rank).copied().unwrap_or_default();
        Line::of_percentiles(values.len(), at)
    }

    /// The same from the number of pixels of each container.
    fn percentiles_by_count(&self, samples: &Samples) -> Line {
        let mut counts = vec![0_usize; 1 << 16];
        match samples {
            Samples::U8(samples) => samples.iter().for_each(|&s| counts[usize::from(s)] += 1),
            Samples::U16(samples) => samples.iter().for_each(|&s| counts[usize::from(s)] += 1),
            Samples::U32(_) => {}
        }
        let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let stored = used.map(|(container, count)| (self.layout.value(container as u32), *count));
        let own = stored.filter(|(stored, _)| !self.is_padding(*stored));
        let mut values: Vec<(f64, usize)> = own
            .map(|(stored, count)| (self.modality.value(stored), count))
            .collect();
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // From here on the number of values up to and including each.
        let mut total = 0;
        for (_, count) in &mut values {
            total += *count;
            *count = total;
        }
        let at = |rank: usize| {
            let index = values.partition_point(|(_, until)| *until <= rank);
            values.get(index).map_or(0., |(value, _)| *value)
        };
        Line::of_percentiles(total, at)
    }

    fn is_padding(&self, stored: i64) -> bool {
        self.padding
            .as_ref()
            .is_some_and(|padding| padding.contains(&stored))
    }
}

/// Maps containers; through a table if there are more pixels than containers.
fn mapped<T: Copy>(samples: &Samples, of: impl Fn(u32) -> T) -> Vec<T> {
    match samples {
        Samples::U8(samples) => {
            let table: Vec<T> = (0..1 << 8).map(of).collect();
            samples.iter().map(|&s| table[usize::from(s)]).collect()
        }
        Samples::U16(samples) if samples.len() >= 1 << 16 => {
            let table: Vec<T> = (0..1 << 16).map(of).collect();
            samples.iter().map(|&s| table[usize::from(s)]).collect()
        }
        samples => samples.map(of),
    }
}

/// Pixel Padding Value and Pixel Padding Range Limit (C.7.5.1.1.2), which have the type of a sample.
fn padding(set: &DataSet<'_>, layout: &Layout) -> Option<RangeInclusive<i64>> {
    let value = |tag| {
        let word = set.u16(tag)?;
        Some(match layout.signed {
            true => i64::from(word as i16),
            false => i64::from(word),
        })
    };
    let one = value(tags::PADDING)?;
    let other = value(tags::PADDING_LIMIT).unwrap_or(one);
    Some(one.min(other)..=one.max(other))
}
