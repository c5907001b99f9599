//! The drawing layer used by the figures: colours, text, pixels, canvas, axes and legends.

pub(crate) mod axes;
pub(crate) mod canvas;
pub(crate) mod colormap;
pub(crate) mod legend;
pub mod palette;
pub(crate) mod pixels;
pub(crate) mod surface;
pub(crate) mod text;
