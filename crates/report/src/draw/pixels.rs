//! Device pixels, at a higher resolution than the saved ones: averaging them antialiases shapes.

use image::RgbImage;
use plotters_backend::BackendCoord;
use plotters_backend::text_anchor::{HPos, VPos};

use super::palette::Color;
use super::text::{Fonts, Type};
use crate::Error;

/// Device pixels per saved pixel in each direction.
pub(crate) const OVERSAMPLING: u32 = 2;

/// A white sheet of fixed width that grows downwards.
pub(crate) struct Pixels {
    fonts: &'static Fonts,
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl Pixels {
    pub(crate) fn new(width: u32) -> Result<Self, Error> {
        Ok(Self {
            fonts: Fonts::load()?,
            width,
            height: 0,
            bytes: Vec::new(),
        })
    }

    pub(crate) fn fonts(&self) -> &'static Fonts {
        self.fonts
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Extends the sheet to at least this height.
    pub(crate) fn reserve(&mut self, height: u32) {
        self.height = self.height.max(height);
        self.bytes
            .resize(self.height as usize * self.width as usize * 3, 255);
    }

    /// Blends `color` into one pixel; does nothing outside the sheet.
    pub(crate) fn blend(&mut self, x: i32, y: i32, color: Color, alpha: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        for (old, new) in self.bytes[start..start + 3].iter_mut().zip(color.rgb()) {
            *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * alpha).round() as u8;
        }
    }

    pub(crate) fn fill(&mut self, from: BackendCoord, to: BackendCoord, color: Color, alpha: f32) {
        let (width, height) = (self.width as i32, self.height as i32);
        for y in from.1.min(to.1).max(0)..from.1.max(to.1).min(height) {
            for x in from.0.min(to.0).max(0)..from.0.max(to.0).min(width) {
                self.blend(x, y, color, alpha);
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str, at: BackendCoord, look: Type) {
        let width = self.fonts.width(text, look.size, look.bold);
        let dx = match look.h {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        let cap = Fonts::cap_height(look.size);
        let dy = match look.v {
            VPos::Top => cap,
            VPos::Center => cap / 2.0,
            VPos::Bottom => 0.0,
        };
        let (dx, dy) = (dx.round() as i32, dy.round() as i32);
        self.fonts
            .rasterize(text, look.size, look.bold, |x, y, coverage| {
                let (x, y) = (x + dx, y + dy);
                let (x, y) = if look.upward { (y, -x) } else { (x, y) };
                self.blend(at.0 + x, at.1 + y, look.color, coverage);
            });
    }

    /// The sheet, averaged down to saved pixels.
    pub(crate) fn averaged(&self) -> RgbImage {
        RgbImage::from_fn(
            self.width / OVERSAMPLING,
            self.height / OVERSAMPLING,
            |x, y| image::Rgb([0, 1, 2].map(|channel| self.average(x, y, channel))),
        )
    }

    fn average(&self, x: u32, y: u32, channel: usize) -> u8 {
        let mut sum = 0;
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (x, y) = (x * OVERSAMPLING + dx, y * OVERSAMPLING + dy);
            let index = (y as usize * self.width as usize + x as usize) * 3 + channel;
            sum += u32::from(self.bytes[index]);
        }
        ((sum + 2) / 4) as u8
    }
}
