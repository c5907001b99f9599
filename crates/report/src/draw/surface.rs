//! Device pixels as a plotters backend.

use std::convert::Infallible;

use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform, rasterizer,
};

use super::palette::Color;
use super::pixels::Pixels;
use super::text::{Fonts, Type};

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Implements plotters' backend for [`Pixels`]. It is used instead of `BitMapBackend` because of text (see
/// [`Fonts::rasterize`]) and round joins, and it cannot fail.
pub(crate) struct Surface<'a>(pub(crate) &'a mut Pixels);

impl DrawingBackend for Surface<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.size()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let (r, g, b) = color.rgb;
        self.0.blend(x, y, Color(r, g, b), color.alpha as f32);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        if !fill {
            return rasterizer::draw_rect(self, from, to, style, fill);
        }
        let BackendColor {
            alpha,
            rgb: (r, g, b),
        } = style.color();
        self.0.fill(from, to, Color(r, g, b), alpha as f32);
        Ok(())
    }

    /// Draws each segment with round joins: plotters' mitred outline has artefacts on the sharp, dense steps of an ROC
    /// curve.
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        // A disc of radius r spans 2r + 1 pixels.
        let radius = style.stroke_width().saturating_sub(1) / 2;
        let mut last: Option<BackendCoord> = None;
        for point in path {
            if let Some(last) = last.filter(|&last| last != point) {
                self.draw_line(last, point, style)?;
            }
            if radius > 1 && last != Some(point) {
                self.draw_circle(point, radius, &style.color(), true)?;
            }
            last = Some(point);
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, at: BackendCoord) -> Drawn {
        let (r, g, b) = style.color().rgb;
        let look = Type {
            size: style.size(),
            bold: is_bold(style),
            color: Color(r, g, b),
            h: style.anchor().h_pos,
            v: style.anchor().v_pos,
            upward: matches!(style.transform(), FontTransform::Rotate270),
        };
        self.0.text(text, at, look);
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let width = self.0.fonts().width(text, style.size(), is_bold(style));
        Ok((
            width.ceil() as u32,
            Fonts::cap_height(style.size()).ceil() as u32,
        ))
    }
}

fn is_bold<T: BackendTextStyle>(style: &T) -> bool {
    matches!(style.style(), FontStyle::Bold)
}
