//! Segmentations (PS3.3, A.51): a frame for each class of pixels but the first, the background.

use super::attributes as a;
use super::common::{self, NOTICE, Network, Uids, code};
use super::object::Object;
use super::source::Source;

/// The SOP class.
pub(super) const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";

/// The class of each pixel of a source.
#[derive(Clone, Copy, Debug)]
pub struct Segmentation<'a> {
    /// Names of the classes; the first is the background.
    pub classes: &'a [String],
    /// Where they are.
    pub pixels: SegmentPixels<'a>,
}

/// How a segmentation states where a class is.
#[derive(Clone, Copy, Debug)]
pub enum SegmentPixels<'a> {
    /// The class of each pixel, row by row; each segment has a bit for each pixel (`BINARY`).
    Binary(&'a [u8]),
    /// The probability of each class, pixel by pixel; each segment has 255 times its class's, rounded (`FRACTIONAL`).
    Fractional(&'a [f32]),
}

/// A segmentation that has been written, and how another object refers to it.
pub struct WrittenSegmentation {
    /// The file's bytes.
    pub file: Vec<u8>,
    pub(super) series: String,
    pub(super) instance: String,
}

/// The file of a segmentation. Segments without a pixel have a frame, too.
///
/// # Errors
/// Pixels that do not fit the source and the classes; no class besides the background; more than 4 GB.
pub fn segmentation(
    source: &Source,
    network: Network<'_>,
    segmentation: &Segmentation<'_>,
) -> Result<WrittenSegmentation, String> {
    let &Segmentation { classes, pixels } = segmentation;
    check(source, segmentation)?;
    let (kind, bits, data) = match pixels {
        SegmentPixels::Binary(labels) => ("BINARY", 1, packed(labels, classes.len())),
        SegmentPixels::Fractional(p) => ("FRACTIONAL", 8, planes(p, classes.len())),
    };
    let uids = Uids::new(network, source, [kind.as_bytes(), &data]);
    let (series, instance) = (uids.of("series"), uids.of("instance"));
    let segments = segment_numbers(classes.len());
    let object = common::result(source, network, &uids)
        .with(common::pixels(source, 1, "MONOCHROME2", bits))
        .with(content(source, classes.len() - 1))
        .with(dimensions(source, &uids.of("dimensions")))
        .with(fractional(pixels))
        // A multi-frame image states the side of a body part for each frame, if at all.
        .without(a::LATERALITY)
        .text(a::SOP_CLASS, SEGMENTATION)
        .text(a::MODALITY, "SEG")
        .text(a::SEGMENTATION_TYPE, kind)
        .items(
            a::SEGMENTS,
            segments
                .clone()
                .map(|number| segment(source, network, number, classes))
                .collect(),
        )
        .items(a::SHARED_GROUPS, vec![shared_groups(source)])
        .items(
            a::PER_FRAME_GROUPS,
            segments
                .map(|number| frame_groups(source, number))
                .collect(),
        )
        .bytes(a::PIXELS, data);
    Ok(WrittenSegmentation {
        file: object.file(),
        series,
        instance,
    })
}

fn check(source: &Source, segmentation: &Segmentation<'_>) -> Result<(), String> {
    let classes = segmentation.classes.len();
    if !(2..=256).contains(&classes) {
        return Err(format!(
            "a segmentation needs from 2 to 256 classes, of which the first is the background, not {classes}"
        ));
    }
    let (values, each) = match segmentation.pixels {
        SegmentPixels::Binary(labels) => (labels.len(), 1),
        SegmentPixels::Fractional(probabilities) => (probabilities.len(), classes),
    };
    common::check_size(source, values, each)?;
    let pixels = source.rows as usize * source.columns as usize * (classes - 1);
    let bytes = match segmentation.pixels {
        SegmentPixels::Binary(_) => pixels / 8,
        SegmentPixels::Fractional(_) => pixels,
    };
    match bytes < u32::MAX as usize - 8 {
        true => Ok(()),
        false => Err(format!(
            "the segmentation has {bytes} bytes, more than DICOM allows"
        )),
    }
}

/// Classes are numbered from 0, segments from 1: the background is none.
fn segment_numbers(classes: usize) -> impl Iterator<Item = u16> + Clone {
    1..classes as u16
}

/// A bit for each pixel and segment, the lowest of a byte first; frames follow each other without padding (PS3.5,
/// section 8.1.1; PS3.3, C.8.20.2.1).
fn packed(labels: &[u8], classes: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; (labels.len() * (classes - 1)).div_ceil(8)];
    for (pixel, label) in labels.iter().enumerate() {
        let Some(frame) = usize::from(*label).checked_sub(1) else {
            continue;
        };
        let bit = frame * labels.len() + pixel;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    bytes
}

/// A byte for each pixel and segment.
fn planes(probabilities: &[f32], classes: usize) -> Vec<u8> {
    let byte = |p: &f32| (255. * p).round() as u8;
    let plane = |class| probabilities.iter().skip(class).step_by(classes).map(byte);
    (1..classes).flat_map(plane).collect()
}

/// The segmentation image module but its pixels (PS3.3, C.8.20.2), and when the content is from.
fn content(source: &Source, frames: usize) -> Object {
    let lossy = Object::default().text(a::LOSSY, "00");
    lossy
        .with(source.image.clone())
        .with(common::dated(source))
        .text(a::IMAGE_TYPE, "DERIVED\\PRIMARY")
        .text(a::CONTENT_LABEL, "PREDICTION")
        .text(a::CONTENT_DESCRIPTION, NOTICE)
        .empty(a::CONTENT_CREATOR)
        .text(a::DERIVATION_DESCRIPTION, NOTICE)
        .text(a::FRAMES, &frames.to_string())
}

fn fractional(pixels: SegmentPixels<'_>) -> Object {
    match pixels {
        SegmentPixels::Binary(_) => Object::default(),
        SegmentPixels::Fractional(_) => Object::default()
            .text(a::SEGMENTATION_FRACTIONAL_TYPE, "PROBABILITY")
            .number(a::MAXIMUM_FRACTIONAL_VALUE, 255),
    }
}

/// What a segment is. A class's name may mean an organ, a lesion or a structure of a cell, and nothing says which: all of
/// them are body structures in SNOMED CT (morphologically abnormal structures are a part of them).
fn segment(source: &Source, network: Network<'_>, number: u16, classes: &[String]) -> Object {
    let name = classes.get(usize::from(number)).map_or("", String::as_str);
    let structure = || vec![code("SCT", "123037004", "Body structure")];
    Object::default()
        .number(a::SEGMENT_NUMBER, number)
        .bytes(a::SEGMENT_LABEL, source.encoded(name, 64))
        .text(a::SEGMENT_ALGORITHM_TYPE, "AUTOMATIC")
        .text(a::SEGMENT_ALGORITHM_NAME, &network.algorithm())
        .items(a::SEGMENT_CATEGORY, structure())
        .items(a::SEGMENT_TYPE_CODE, structure())
}

/// The multi-frame dimension module (PS3.3, C.7.6.17): frames are ordered by segment, and by place where there is one.
fn dimensions(source: &Source, uid: &str) -> Object {
    let organization = || Object::default().text(a::DIMENSION_ORGANIZATION_UID, uid);
    let index = |value, group| {
        organization()
            .pointer(a::DIMENSION_INDEX_POINTER, value)
            .pointer(a::FUNCTIONAL_GROUP_POINTER, group)
    };
    let mut indices = vec![index(a::REFERENCED_SEGMENT, a::SEGMENT_IDENTIFICATION)];
    if source.geometry.is_some() {
        indices.push(index(a::IMAGE_POSITION, a::PLANE_POSITION));
    }
    Object::default()
        .items(a::DIMENSION_ORGANIZATIONS, vec![organization()])
        .items(a::DIMENSION_INDICES, indices)
}

fn shared_groups(source: &Source) -> Object {
    let Some(geometry) = &source.geometry else {
        return Object::default();
    };
    Object::default()
        .items(a::PIXEL_MEASURES, vec![geometry.measures.clone()])
        .items(a::PLANE_ORIENTATION, vec![geometry.orientation.clone()])
}

fn frame_groups(source: &Source, segment: u16) -> Object {
    let segment_index = u32::from(segment);
    let place = source.geometry.as_ref();
    let indices = match place {
        Some(_) => vec![segment_index, 1],
        None => vec![segment_index],
    };
    let content = Object::default().long_numbers(a::DIMENSION_INDEX_VALUES, &indices);
    let identification = Object::default().number(a::REFERENCED_SEGMENT, segment);
    let derivation = Object::default()
        .items(
            a::DERIVATION_CODE,
            vec![code("DCM", "113076", "Segmentation")],
        )
        .items(a::SOURCE_IMAGES, vec![common::source_image(source)]);
    let groups = Object::default()
        .items(a::FRAME_CONTENT, vec![content])
        .items(a::SEGMENT_IDENTIFICATION, vec![identification])
        .items(a::DERIVATION_IMAGE, vec![derivation]);
    match place {
        Some(geometry) => groups.items(a::PLANE_POSITION, vec![geometry.position.clone()]),
        None => groups,
    }
}
