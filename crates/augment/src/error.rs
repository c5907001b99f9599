//! Errors of configurations, rasters and batches.

/// `Raster::MAX_SIDE`; defined here because the error for a longer side states it.
pub(crate) const MAX_SIDE: usize = 1 << 20;

/// Why a configuration, a raster or a batch was rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AugmentError {
    /// A number is outside the range of its key.
    #[error("augmentation key `{key}` is {value}, but it must be {allowed}")]
    OutOfRange {
        /// The key as written in the TOML table, such as `rotation.degrees`.
        key: &'static str,
        /// The value found.
        value: f64,
        /// The values that the key allows.
        allowed: &'static str,
    },
    /// A range's lower end is above its upper end.
    #[error(
        "augmentation key `{key}` runs from {min} to {max}: swap the two, the smaller comes first"
    )]
    EmptyRange {
        /// The key of the range, such as `zoom`.
        key: &'static str,
        /// The lower end found.
        min: f64,
        /// The upper end found.
        max: f64,
    },
    /// The samples of a raster do not fill its shape.
    #[error(
        "a raster of {height}×{width}×{channels} needs {expected} values, but {actual} were given"
    )]
    WrongLength {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values per pixel.
        channels: usize,
        /// `height · width · channels`.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// A side is too long for the resampler's fixed-point coordinates, or there are no channels.
    #[error(
        "a raster of {height}×{width}×{channels} cannot be augmented: sides go up to {MAX_SIDE}, channels from 1"
    )]
    BadShape {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values per pixel.
        channels: usize,
    },
    /// `cutmix.switch` chooses between cutmix and mixup, but there is no mixup.
    #[error(
        "augmentation key `cutmix.switch` chooses between cutmix and mixup, but `mixup` is off: remove the key, or \
         set `mixup`"
    )]
    NothingToSwitch,
    /// A batch has different numbers of seeds and images.
    #[error("a batch of {images} images came with {seeds} seeds: give one seed per image")]
    BatchLength {
        /// Images given.
        images: usize,
        /// Seeds given.
        seeds: usize,
    },
}
