//! What all results have in common: who made them, from what, and that they are not for diagnosis.

use super::attributes as a;
use super::attributes::Attribute;
use super::object::Object;
use super::source::Source;
use super::uid;

/// Stands in every result, where viewers show it.
pub const NOTICE: &str = "Research prediction, not for diagnosis";

/// The program and the weights that computed a result.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// Name of the program.
    pub program: &'a str,
    /// Its version.
    pub version: &'a str,
    /// SHA-256 of the weights, in hexadecimal.
    pub weights_sha256: &'a str,
}

impl Network<'_> {
    /// Program and version.
    pub(super) fn algorithm(&self) -> String {
        format!("{} {}", self.program, self.version)
    }

    /// The general and the enhanced equipment modules (PS3.3, C.7.5.1, C.7.5.2): the serial number is that of the weights.
    pub(super) fn equipment(&self) -> Object {
        Object::default()
            .text(a::MANUFACTURER, self.program)
            .text(a::MODEL_NAME, self.program)
            .text(a::DEVICE_SERIAL_NUMBER, self.weights_sha256)
            .text(a::SOFTWARE_VERSIONS, self.version)
    }
}

/// UIDs of a result, which depend on everything that its content depends on: two files of the same UID are equal.
pub(super) struct Uids<'a> {
    network: Network<'a>,
    source: &'a Source,
    /// The kind of result, and its pixels.
    content: [&'a [u8]; 2],
}

impl<'a> Uids<'a> {
    pub(super) fn new(network: Network<'a>, source: &'a Source, content: [&'a [u8]; 2]) -> Self {
        Self {
            network,
            source,
            content,
        }
    }

    /// The UID of a purpose.
    pub(super) fn of(&self, purpose: &str) -> String {
        let Network {
            program,
            version,
            weights_sha256,
        } = self.network;
        let texts = [
            purpose,
            &self.source.instance,
            program,
            version,
            weights_sha256,
        ];
        let texts = texts.map(str::as_bytes);
        uid(&[&texts[..], &self.content].concat())
    }
}

/// The modules that all results have: patient, study, series of its own, equipment, instance (PS3.3, C.7.1.1, C.7.2.1,
/// C.7.3.1, C.7.5.1, C.12.1).
pub(super) fn instance(source: &Source, network: Network<'_>, uids: &Uids<'_>) -> Object {
    source
        .study
        .clone()
        .with(network.equipment())
        .text(a::SOP_INSTANCE, &uids.of("instance"))
        .text(a::SERIES, &uids.of("series"))
        .text(a::SERIES_NUMBER, "1")
        .text(a::INSTANCE_NUMBER, "1")
        .text(a::SERIES_DESCRIPTION, NOTICE)
}

/// The modules that all images have besides: the image's general attributes, and the reference to the source (PS3.3,
/// C.7.6.1, C.12.2).
pub(super) fn result(source: &Source, network: Network<'_>, uids: &Uids<'_>) -> Object {
    let place = source.frame_of_reference.clone().unwrap_or_default();
    instance(source, network, uids)
        .empty(a::PATIENT_ORIENTATION)
        .with(source.image.clone())
        .with(source.burned_in.clone())
        .with(place)
        .items(a::REFERENCED_SERIES, vec![series(source)])
}

/// When the content is from. A date is required; archives of anonymous images use this one for "none".
pub(super) fn dated(source: &Source) -> Object {
    let undated = || {
        Object::default()
            .text(a::CONTENT_DATE, "19000101")
            .text(a::CONTENT_TIME, "000000")
    };
    source.content.clone().unwrap_or_else(undated)
}

fn series(source: &Source) -> Object {
    Object::default()
        .text(a::SERIES, &source.series)
        .items(a::REFERENCED_INSTANCES, vec![reference(source)])
}

pub(super) fn reference(source: &Source) -> Object {
    Object::default()
        .text(a::REFERENCED_CLASS, &source.class)
        .text(a::REFERENCED_INSTANCE, &source.instance)
}

/// The item of a Source Image Sequence: the result has a pixel for each of the source's.
pub(super) fn source_image(source: &Source) -> Object {
    let purpose = code(
        "DCM",
        "121322",
        "Source image for image processing operation",
    );
    reference(source)
        .text(a::SPATIAL_LOCATIONS_PRESERVED, "YES")
        .items(a::PURPOSE_OF_REFERENCE, vec![purpose])
}

/// The item of a code sequence (PS3.3, section 8).
pub(super) fn code(scheme: &str, value: &str, meaning: &str) -> Object {
    Object::default()
        .text(a::CODE_VALUE, value)
        .text(a::CODING_SCHEME, scheme)
        .text(a::CODE_MEANING, meaning)
}

/// Number of bytes and, in each, of bits: pixels of one sample from 0 (PS3.3, C.7.6.3).
pub(super) fn pixels(source: &Source, samples: u16, photometric: &str, bits: u16) -> Object {
    // The reader has them from attributes of 16 bits.
    let side = |object: Object, attribute: Attribute, side: u32| {
        object.number(attribute, u16::try_from(side).unwrap_or(u16::MAX))
    };
    let object = Object::default()
        .number(a::SAMPLES, samples)
        .text(a::PHOTOMETRIC, photometric)
        .number(a::BITS_ALLOCATED, bits)
        .number(a::BITS_STORED, bits)
        .number(a::HIGH_BIT, bits - 1)
        .number(a::PIXEL_REPRESENTATION, 0);
    side(
        side(object, a::ROWS, source.rows),
        a::COLUMNS,
        source.columns,
    )
}

/// Whether there are as many values as the source has pixels, `each` for every one.
pub(super) fn check_size(source: &Source, values: usize, each: usize) -> Result<(), String> {
    let pixels = source.rows as usize * source.columns as usize;
    match values == pixels * each {
        true => Ok(()),
        false => Err(format!(
            "the result has {values} values instead of {each} for each of {} x {} pixels",
            source.rows, source.columns
        )),
    }
}
