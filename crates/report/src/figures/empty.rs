//! The placeholder figure for empty data.

use crate::draw::canvas::Canvas;
use crate::draw::palette;
use crate::draw::text::Type;
use crate::{Error, Figure};

impl Figure {
    /// Creates a small figure that states why there is nothing to show; the `draw` methods return it for empty data.
    pub fn empty(title: &str, reason: &str) -> Result<Self, Error> {
        let mut canvas = Canvas::new()?;
        let top = canvas.header(title, "");
        canvas.reserve(top + 72.0);
        canvas.text(
            reason,
            canvas.width() / 2.0,
            top + 28.0,
            Type::new(13.0).color(palette::MUTED).centered(),
        );
        Ok(canvas.finish())
    }
}
