//! Text in an embedded font: measuring, fitting, rasterizing.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, PxScaleFont, ScaleFont};
use plotters::style::{FontStyle, register_font};
use plotters_backend::text_anchor::{HPos, VPos};

use super::palette::{self, Color};
use crate::Error;

/// The name under which the embedded font is registered with plotters.
pub(crate) const FAMILY: &str = "report-sans";

/// Style of a text, and its position relative to its anchor point.
#[derive(Clone, Copy)]
pub(crate) struct Type {
    /// Em size in layout units, like `font-size` in CSS.
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) color: Color,
    pub(crate) h: HPos,
    pub(crate) v: VPos,
    /// Whether the text runs upwards (rotated by 90° anticlockwise).
    pub(crate) upward: bool,
}

impl Type {
    pub(crate) fn new(size: f64) -> Self {
        let (h, v) = (HPos::Left, VPos::Center);
        Self {
            size,
            bold: false,
            color: palette::INK,
            h,
            v,
            upward: false,
        }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) fn color(self, color: Color) -> Self {
        Self { color, ..self }
    }

    pub(crate) fn at(self, h: HPos, v: VPos) -> Self {
        Self { h, v, ..self }
    }

    pub(crate) fn centered(self) -> Self {
        self.at(HPos::Center, VPos::Center)
    }

    pub(crate) fn upward(self) -> Self {
        Self {
            upward: true,
            ..self
        }
    }

    /// The share of the text to the left of its anchor point (before rotation).
    pub(crate) fn h_share(self) -> f64 {
        match self.h {
            HPos::Left => 0.0,
            HPos::Center => 0.5,
            HPos::Right => 1.0,
        }
    }

    /// The share of the text above its anchor point (before rotation).
    pub(crate) fn v_share(self) -> f64 {
        match self.v {
            VPos::Top => 0.0,
            VPos::Center => 0.5,
            VPos::Bottom => 1.0,
        }
    }

    /// The distance between two baselines.
    pub(crate) fn line_height(self) -> f64 {
        self.size * 1.3
    }
}

/// Both weights of the embedded font, parsed once.
pub(crate) struct Fonts {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Fonts {
    /// Loads the fonts and registers them with plotters. Fails only if the embedded bytes are not a valid font.
    pub(crate) fn load() -> Result<&'static Self, Error> {
        static FONTS: LazyLock<Option<Fonts>> = LazyLock::new(|| {
            let (regular, bold) = (dejavu::sans::regular(), dejavu::sans::bold());
            register_font(FAMILY, FontStyle::Normal, regular).ok()?;
            register_font(FAMILY, FontStyle::Bold, bold).ok()?;
            Some(Fonts {
                regular: FontRef::try_from_slice(regular).ok()?,
                bold: FontRef::try_from_slice(bold).ok()?,
            })
        });
        FONTS
            .as_ref()
            .ok_or_else(|| Error::Draw("the embedded font cannot be read".into()))
    }

    /// The width of a line of text, in the unit of `size`.
    pub(crate) fn width(&self, text: &str, size: f64, bold: bool) -> f64 {
        let mut end = 0.0;
        self.layout(text, size, bold, |_, right| end = right);
        f64::from(end)
    }

    /// The height of a capital letter; text is centred on capitals, not on the font's box.
    pub(crate) fn cap_height(size: f64) -> f64 {
        0.729 * size
    }

    /// `text` if it fits into `width`, otherwise its beginning followed by an ellipsis.
    pub(crate) fn elided(&self, text: &str, size: f64, bold: bool, width: f64) -> String {
        if self.width(text, size, bold) <= width {
            return text.to_owned();
        }
        let shortened = |end: usize| format!("{}…", text[..end].trim_end());
        let ends: Vec<_> = text.char_indices().map(|(start, _)| start).collect();
        let fits = |&end: &usize| self.width(&shortened(end), size, bold) <= width;
        let fitting = ends.partition_point(fits);
        fitting
            .checked_sub(1)
            .map_or_else(String::new, |last| shortened(ends[last]))
    }

    /// `text` broken at spaces (and at its own line breaks) into at most `most` lines of `width`; the rest is elided.
    pub(crate) fn wrapped(&self, text: &str, size: f64, width: f64, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for paragraph in text.lines() {
            lines.extend(self.broken(paragraph, size, width));
        }
        if lines.len() > most {
            let rest = lines.split_off(most.saturating_sub(1)).join(" ");
            lines.push(rest);
        }
        lines
            .iter()
            .map(|line| self.elided(line, size, false, width))
            .collect()
    }

    /// Calls `put(x, y, coverage)` for every pixel that the text covers, relative to the start of its baseline.
    /// plotters' own routine ignores each glyph's left side bearing, which spaces letters unevenly.
    pub(crate) fn rasterize(
        &self,
        text: &str,
        size: f64,
        bold: bool,
        mut put: impl FnMut(i32, i32, f32),
    ) {
        let font = self.scaled(size, bold);
        self.layout(text, size, bold, |glyph, _| {
            let Some(outline) = font.outline_glyph(glyph) else {
                return;
            };
            let origin = outline.px_bounds().min;
            let (left, top) = (origin.x as i32, origin.y as i32);
            outline.draw(|x, y, coverage| put(left + x as i32, top + y as i32, coverage.min(1.0)));
        });
    }

    /// Greedy line breaking of one paragraph.
    fn broken(&self, paragraph: &str, size: f64, width: f64) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let words = paragraph
            .split_whitespace()
            .flat_map(|word| self.pieces(word, size, width));
        for word in words {
            let longer = format!("{line} {word}");
            if line.is_empty() {
                line = word;
            } else if self.width(&longer, size, false) <= width {
                line = longer;
            } else {
                lines.push(std::mem::replace(&mut line, word));
            }
        }
        lines.push(line);
        lines
    }

    /// Splits a word (such as a long file name) into parts that fit, after an underscore or a hyphen if there is one.
    fn pieces(&self, word: &str, size: f64, width: f64) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut rest = word;
        while self.width(rest, size, false) > width {
            let starts = rest.char_indices().map(|(start, _)| start).skip(1);
            let fits = |&end: &usize| self.width(&rest[..end], size, false) <= width;
            let Some(longest) = starts
                .clone()
                .take_while(fits)
                .last()
                .or(starts.clone().next())
            else {
                break;
            };
            let joint = rest[..longest]
                .rfind(['_', '-'])
                .map_or(longest, |at| at + 1);
            let (piece, tail) = rest.split_at(joint);
            pieces.push(piece.to_owned());
            rest = tail;
        }
        pieces.push(rest.to_owned());
        pieces
    }

    /// Calls `each(glyph, right)` in order, with the positioned glyph and the start of the next one.
    fn layout(&self, text: &str, size: f64, bold: bool, mut each: impl FnMut(Glyph, f32)) {
        let font = self.scaled(size, bold);
        let mut pen = 0.0;
        let mut last = None;
        for character in text.chars() {
            let id = font.glyph_id(if character.is_control() {
                ' '
            } else {
                character
            });
            pen += last.map_or(0.0, |last| font.kern(last, id));
            let glyph = id.with_scale_and_position(font.scale(), ab_glyph::point(pen, 0.0));
            pen += font.h_advance(id);
            last = Some(id);
            each(glyph, pen);
        }
    }

    fn scaled(&self, size: f64, bold: bool) -> PxScaleFont<&FontRef<'static>> {
        let font = if bold { &self.bold } else { &self.regular };
        // ab_glyph scales by ascent − descent, typography (and CSS) by the em.
        let em = font.units_per_em().unwrap_or(1.0);
        font.as_scaled(PxScale::from(size as f32 * font.height_unscaled() / em))
    }
}
