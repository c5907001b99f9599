//! What can be wrong with a configuration or a picture.

/// `Raster::MAX_SIDE`; it stands here because the refusal of a longer side names it.
pub(crate) const MAX_SIDE: usize = 1 << 20;

/// Why a configuration, a raster or a batch was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AugmentError {
    /// A number lies outside what its key allows.
    #[error("augmentation key `{key}` is {value}, but it must be {allowed}")]
    OutOfRange {
        /// The key as it stands in the TOML table, such as `rotation.degrees`.
        key: &'static str,
        /// The value found.
        value: f64,
        /// The values that the key takes.
        allowed: &'static str,
    },
    /// A range's lower end lies above its upper end.
    #[error(
        "augmentation key `{key}` runs from {min} to {max}: swap the two, the smaller comes first"
    )]
    EmptyRange {
        /// The key that holds the range, such as `zoom`.
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
        /// Values a pixel.
        channels: usize,
        /// `height · width · channels`.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// A side is longer than the resampler's fixed-point coordinates reach, or there are no channels.
    #[error(
        "a raster of {height}×{width}×{channels} cannot be augmented: sides go up to {MAX_SIDE}, channels from 1"
    )]
    BadShape {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values a pixel.
        channels: usize,
    },
    /// A batch has another number of seeds than of images.
    #[error("a batch of {images} images came with {seeds} seeds: give one seed an image")]
    BatchLength {
        /// Images given.
        images: usize,
        /// Seeds given.
        seeds: usize,
    },
}
