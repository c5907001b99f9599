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
    /// Number of values.
    pub const fn len(self) -> usize {
        self.pixels() * self.c
    }

    /// Whether the tensor holds no values.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of pixels over the whole batch: the rows of the matrix that a 1×1 convolution multiplies.
    pub const fn pixels(self) -> usize {
        self.n * self.h * self.w
    }

    /// The same tensor with another number of channels.
    pub const fn with_channels(self, c: usize) -> Self {
        Self { c, ..self }
    }

    /// The tensor of twice the height and width.
    pub const fn doubled(self) -> Self {
        Self {
            h: 2 * self.h,
            w: 2 * self.w,
            ..self
        }
    }

    /// The tensor without `margin` pixels on every side; `None` if nothing would be left.
    pub const fn cropped(self, margin: usize) -> Option<Self> {
        if self.h <= 2 * margin || self.w <= 2 * margin {
            return None;
        }
        Some(Self {
            h: self.h - 2 * margin,
            w: self.w - 2 * margin,
            ..self
        })
    }
}
