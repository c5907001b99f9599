//! Secondary captures (PS3.3, A.8.1): a picture of a result.

use super::attributes as a;
use super::common::{self, NOTICE, Network, Uids};
use super::object::Object;
use super::source::Source;

const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// A picture of the size of its source.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'a> {
    /// Red, green and blue of each pixel, row by row.
    pub rgb: &'a [u8],
    /// What it shows, as a sentence without its full stop.
    pub description: &'a str,
}

/// The file of a secondary capture.
///
/// # Errors
/// The picture does not have three values for each pixel of the source.
pub fn secondary_capture(
    source: &Source,
    network: Network<'_>,
    capture: &Capture<'_>,
) -> Result<Vec<u8>, String> {
    let &Capture { rgb, description } = capture;
    common::check_size(source, rgb.len(), 3)?;
    let uids = Uids::new(network, source, [b"capture", rgb]);
    let description = format!("{description}. {NOTICE}. {}", network.algorithm());
    let capture = common::result(source, network, &uids)
        .with(laterality(source))
        .with(common::pixels(source, 3, "RGB", 8))
        .with(source.content.clone().unwrap_or_default())
        .text(a::SOP_CLASS, SECONDARY_CAPTURE)
        .text(a::MODALITY, "OT")
        // Made on a workstation.
        .text(a::CONVERSION_TYPE, "WSD")
        .text(a::IMAGE_TYPE, "DERIVED\\SECONDARY")
        .bytes(
            a::DERIVATION_DESCRIPTION,
            source.encoded(&description, 1024),
        )
        .items(a::SOURCE_IMAGES, vec![common::source_image(source)])
        // Red, green and blue of a pixel follow each other.
        .number(a::PLANAR, 0)
        .bytes(a::PIXELS, rgb.to_vec());
    Ok(capture.file())
}

/// The side of a paired body part must be stated, if only as unknown; where the source does not say what it shows, it may
/// be one (PS3.3, C.7.3.1).
fn laterality(source: &Source) -> Object {
    let said = [a::LATERALITY, a::IMAGE_LATERALITY, a::BODY_PART];
    match said.iter().any(|attribute| source.image.has(*attribute)) {
        true => Object::default(),
        false => Object::default().empty(a::LATERALITY),
    }
}
