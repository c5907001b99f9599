//! What is shown beyond the edge of an image.

use serde::{Deserialize, Serialize};

/// What the geometry shows beyond the image's edge.
///
/// In TOML: `"nearest"`, `"reflect"` or `{ constant = 0.0 }`. Written for a row `a b c d`:
///
/// | here | shows | Keras `fill_mode` | `grid_sample` | OpenCV |
/// |---|---|---|---|---|
/// | `constant = k` | `k k \| a b c d \| k k` | `constant` | `zeros` (for 0) | `BORDER_CONSTANT` |
/// | `nearest` | `a a \| a b c d \| d d` | `nearest` (its default) | `border` | `BORDER_REPLICATE` |
/// | `reflect` | `b a \| a b c d \| d c` | `reflect` | `reflection`, `align_corners=False` | `BORDER_REFLECT` |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// One value in `[0, 1]`, blended with the image at its edge. A mask is filled with NaN whatever the value is,
    /// because the class beyond the image is unknown. The default is `constant = 0.0`, as in torchvision.
    Constant(f64),
    /// The nearest pixel of the edge, repeated outwards.
    Nearest,
    /// The image mirrored at its edge, with the edge pixel shown twice, repeated as far as needed.
    Reflect,
}

impl Default for Fill {
    fn default() -> Self {
        Self::Constant(0.0)
    }
}

impl Fill {
    /// The pixel, of `len` in a row or column, shown at `index`; `None` where the constant is shown.
    #[inline]
    pub(crate) fn index(self, index: i64, len: usize) -> Option<usize> {
        if let Ok(inside) = usize::try_from(index)
            && inside < len
        {
            return Some(inside);
        }
        match self {
            Self::Constant(_) => None,
            Self::Nearest => Some(index.clamp(0, len as i64 - 1) as usize),
            Self::Reflect => Some(reflect(index, len)),
        }
    }

    /// The value shown where [`Self::index`] is `None`.
    pub(crate) fn value(self) -> f32 {
        match self {
            Self::Constant(value) => value as f32,
            Self::Nearest | Self::Reflect => 0.0,
        }
    }

    /// The fill for a mask, which is unknown beyond its edge.
    pub(crate) fn for_mask(self) -> Self {
        match self {
            Self::Constant(_) => Self::Constant(f64::NAN),
            other => other,
        }
    }
}

/// `index` mirrored into `0..len`, with the edge shown twice; `len` is at least 1.
pub(crate) fn reflect(index: i64, len: usize) -> usize {
    let len = len as i64;
    // A single reflection is the usual case and needs no division.
    let once = if index < 0 {
        -1 - index
    } else {
        2 * len - 1 - index
    };
    let mirrored = if (0..len).contains(&index) {
        index
    } else if (0..len).contains(&once) {
        once
    } else {
        let around = index.rem_euclid(2 * len);
        around.min(2 * len - 1 - around)
    };
    mirrored as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fill: Fill, expected: &str) {
        let shown: String = (-6..10)
            .map(|i| fill.index(i, 4).map_or('k', |at| ['a', 'b', 'c', 'd'][at]))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn edges_continue_as_keras_documents_them() {
        check(Fill::Constant(0.5), "kkkkkkabcdkkkkkk");
        check(Fill::Nearest, "aaaaaaabcddddddd");
        check(Fill::Reflect, "cddcbaabcddcbaab");
        assert!((-5..5).all(|index| reflect(index, 1) == 0));
    }
}
