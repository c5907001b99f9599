//! An image and its maps as files that a browser can decode without loss.

use anyhow::Result;
use imaging::{ImageFile, encode};
use pipeline::predict::{Found, Predictor};

/// An image and the network's maps of it.
pub struct Pictures {
    /// As [`encode::whole`].
    pub(crate) image: Vec<u8>,
    /// Bits of the image's grey levels.
    pub(crate) bits: u8,
    /// The probabilities of each of the network's [`Predictor::mapped_classes`], as [`encode::levels`].
    pub(crate) maps: Vec<Vec<u8>>,
}

impl Pictures {
    /// # Errors
    /// The image has no pixels.
    pub fn of(predictor: &Predictor, image: &ImageFile, found: &Found) -> Result<Self> {
        let maps = (0..predictor.mapped_classes().len()).map(|i| map(predictor, image, found, i));
        Ok(Pictures {
            image: encode::whole(image)?,
            bits: bits(image),
            maps: maps.collect::<Result<_>>()?,
        })
    }
}

/// Bits of the grey levels of [`encode::whole`].
pub(crate) fn bits(image: &ImageFile) -> u8 {
    match image.is_colour() {
        true => 8,
        false => image.bits(),
    }
}

/// One of the maps.
///
/// # Errors
/// There is no map of this number.
pub(crate) fn map(
    predictor: &Predictor,
    image: &ImageFile,
    found: &Found,
    index: usize,
) -> Result<Vec<u8>> {
    let map = predictor.map(found, index);
    let map = map.ok_or_else(|| anyhow::anyhow!("the network has no map {index}"))?;
    Ok(encode::levels(image.size(), &map.probabilities)?)
}
