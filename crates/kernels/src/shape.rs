//! Shapes and sizes.

/// Maximum number of values of a tensor, of weights or of working space: 2³⁷, half a tebibyte of `f32`.
///
/// Far below `usize::MAX`, so that small multiples of sizes, and products of a size and a number of tasks, cannot wrap.
/// Every size is therefore checked once, at the start of a public function, and never in its loops.
pub const MAX_VALUES: usize = 1 << (usize::BITS / 2 + 5);

/// The product of `factors`; `None` if it, or the product of any of them, is more than [`MAX_VALUES`]: a factor of
/// zero does not hide an excess.
pub(crate) const fn checked_size<const N: usize>(factors: [usize; N]) -> Option<usize> {
    let (mut nonzero, mut any_zero, mut i) = (1usize, false, 0);
    while i < N {
        if factors[i] == 0 {
            any_zero = true;
        } else {
            nonzero = match nonzero.checked_mul(factors[i]) {
                Some(product) if product <= MAX_VALUES => product,
                _ => return None,
            };
        }
        i += 1;
    }
    Some(if any_zero { 0 } else { nonzero })
}

/// Like [`checked_size`], but panics if the size is too large.
pub(crate) const fn size<const N: usize>(factors: [usize; N]) -> usize {
    let size = checked_size(factors);
    assert!(size.is_some(), "a size is beyond `MAX_VALUES`");
    match size {
        Some(size) => size,
        None => 0,
    }
}

/// Shape of a dense activation tensor in NHWC order: channels are contiguous.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Nhwc {
    /// Images in the batch.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Nhwc {
    /// Number of values. The product of any of the four dimensions is bounded by [`MAX_VALUES`] too.
    ///
    /// # Panics
    /// Panics if it is more than [`MAX_VALUES`]; see [`Nhwc::checked_len`].
    pub const fn len(self) -> usize {
        size([self.n, self.h, self.w, self.c])
    }

    /// [`Nhwc::len`] of a shape that comes from a file or a setting; `None` beyond [`MAX_VALUES`].
    pub const fn checked_len(self) -> Option<usize> {
        checked_size([self.n, self.h, self.w, self.c])
    }

    /// Whether the tensor holds no values.
    pub const fn is_empty(self) -> bool {
        self.n == 0 || self.h == 0 || self.w == 0 || self.c == 0
    }

    /// Number of pixels over the whole batch: the rows of the matrix that a 1×1 convolution multiplies.
    ///
    /// # Panics
    /// As [`Nhwc::len`].
    pub const fn pixels(self) -> usize {
        size([self.n, self.h, self.w])
    }

    /// The same tensor with another number of channels.
    pub const fn with_channels(self, c: usize) -> Self {
        Self { c, ..self }
    }

    /// The tensor of twice the height and width.
    pub const fn doubled(self) -> Self {
        Self {
            h: self.h.saturating_mul(2),
            w: self.w.saturating_mul(2),
            ..self
        }
    }

    /// The tensor without `margin` pixels on every side; `None` if nothing would be left.
    pub const fn cropped(self, margin: usize) -> Option<Self> {
        let both = margin.saturating_mul(2);
        if self.h <= both || self.w <= both {
            return None;
        }
        Some(Self {
            h: self.h - both,
            w: self.w - both,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_do_not_wrap() {
        let check = |factors: [usize; 3], expected| assert_eq!(checked_size(factors), expected);
        check([2, 3, 4], Some(24));
        check([0, 3, 4], Some(0));
        check([MAX_VALUES, 1, 1], Some(MAX_VALUES));
        check([MAX_VALUES, 2, 1], None);
        check([1 << 62, 1, 8], None);
        check([0, 1 << 62, 8], None);
        check([usize::MAX, usize::MAX, 0], None);
    }
}
