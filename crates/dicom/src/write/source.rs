//! The image that a result was computed from: what of it the result's file repeats.

use super::attributes as a;
use super::attributes::Attribute;
use super::object::Object;
use crate::dataset::DataSet;
use crate::header::Groups;
use crate::tags::{self, Tag};
use crate::{ReadOptions, SpacingAt, with_elements};

/// The patient and study modules (PS3.3, C.7.1.1, C.7.2.1, C.7.2.2), as far as archives file and search by them. Those
/// that a file must have, if only without a value, come first.
const STUDY: [Attribute; 13] = [
    a::PATIENT_NAME,
    a::PATIENT_ID,
    a::BIRTH_DATE,
    a::PATIENT_SEX,
    a::STUDY_DATE,
    a::STUDY_TIME,
    a::ACCESSION_NUMBER,
    a::REFERRING_PHYSICIAN,
    a::STUDY_ID,
    a::STUDY,
    a::PATIENT_ID_ISSUER,
    a::PATIENT_AGE,
    a::STUDY_DESCRIPTION,
];

/// Attributes of [`STUDY`] of type 2.
const REQUIRED: usize = 9;

/// What is shown, and whether it was ever compressed with loss (PS3.3, C.7.3.1, C.7.6.1), which remains true of what is
/// derived from it.
const IMAGE: [Attribute; 7] = [
    a::BODY_PART,
    a::LATERALITY,
    a::IMAGE_LATERALITY,
    a::PATIENT_ORIENTATION,
    a::LOSSY,
    a::LOSSY_RATIO,
    a::LOSSY_METHOD,
];

const FRAME_OF_REFERENCE: [Attribute; 2] = [a::FRAME_OF_REFERENCE, a::POSITION_REFERENCE];

/// Dates of the image, the most specific first, each with its time.
const DATES: [[Attribute; 2]; 4] = [
    [a::CONTENT_DATE, a::CONTENT_TIME],
    [a::ACQUISITION_DATE, a::ACQUISITION_TIME],
    [a::SERIES_DATE, a::SERIES_TIME],
    [a::STUDY_DATE, a::STUDY_TIME],
];

/// Where the image is in the patient.
const PLACE: [Attribute; 3] = [a::IMAGE_POSITION, a::IMAGE_ORIENTATION, a::SLICE_THICKNESS];

/// An image whose patient, study and place a result repeats. The elements are copied as they are encoded and never become
/// text, and there is no `Debug`: neither a message nor a log can contain them.
pub struct Source {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) class: String,
    pub(super) instance: String,
    pub(super) series: String,
    /// Patient and study, with the character set of their texts.
    pub(super) study: Object,
    pub(super) image: Object,
    /// `NO` unless the image says otherwise.
    pub(super) burned_in: Object,
    /// `None` if the image has none.
    pub(super) frame_of_reference: Option<Object>,
    /// Date and time; `None` if the image has neither.
    pub(super) content: Option<Object>,
    pub(super) geometry: Option<Geometry>,
    charset: Charset,
}

/// Where the image is in the patient: attributes of the functional groups (PS3.3, C.7.6.16.2).
pub(super) struct Geometry {
    pub(super) position: Object,
    pub(super) orientation: Object,
    pub(super) measures: Object,
}

/// What can be written besides the copied texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
}

impl Source {
    /// Reads what a result repeats from the bytes of an image.
    ///
    /// # Errors
    /// As [`crate::header`]; an image of several frames, or without the identifiers of its study, series or instance, to
    /// which a result could not refer. The reason contains nothing about the patient.
    pub fn of(bytes: &[u8], options: &ReadOptions) -> Result<Self, String> {
        with_elements(bytes, options, is_copied, |opened| {
            if opened.layout.frames > 1 {
                return Err(format!(
                    "it has {} frames, and DICOM results can refer only to an image with one",
                    opened.layout.frames
                ));
            }
            let set = opened.groups.set;
            let charset = Charset::of(set);
            let mut study = copied(set, &STUDY[..REQUIRED], true).with(copied(set, &STUDY, false));
            study = match charset {
                // Nothing needs a character set yet, so that names of classes may have any letters.
                Charset::Utf8 => study.text(a::CHARACTER_SET, "ISO_IR 192"),
                _ => study.with(copied(set, &[a::CHARACTER_SET], false)),
            };
            let flag = set.text(a::BURNED_IN.tag);
            let flag = flag.filter(|flag| flag == "YES").map_or("NO", |_| "YES");
            Ok(Self {
                rows: opened.layout.rows,
                columns: opened.layout.columns,
                class: identifier(set, a::SOP_CLASS, "SOP Class UID")?,
                instance: identifier(set, a::SOP_INSTANCE, "SOP Instance UID")?,
                series: identifier(set, a::SERIES, "Series Instance UID")?,
                study: identifier(set, a::STUDY, "Study Instance UID").map(|_| study)?,
                image: copied(set, &IMAGE, false),
                burned_in: Object::default().text(a::BURNED_IN, flag),
                frame_of_reference: set
                    .bytes(a::FRAME_OF_REFERENCE.tag)
                    .map(|_| copied(set, &FRAME_OF_REFERENCE, true)),
                content: content(set),
                geometry: geometry(opened.groups, opened.header().pixel_spacing.map(|s| s.at)),
                charset,
            })
        })
    }

    /// Rows and columns.
    pub fn size(&self) -> (u32, u32) {
        (self.rows, self.columns)
    }

    /// A text in the source's character set, of one value and at most this many characters; what the set lacks becomes
    /// `?`.
    pub(super) fn encoded(&self, text: &str, longest: usize) -> Vec<u8> {
        let plain = |c: char| match c {
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        };
        let plain: String = text.trim().chars().map(plain).take(longest).collect();
        let encoded = |c: char| match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() || self.charset == Charset::Latin1 => byte,
            _ => b'?',
        };
        match self.charset {
            Charset::Utf8 => plain.into_bytes(),
            _ => plain.chars().map(encoded).collect(),
        }
    }
}

impl Charset {
    /// Of the copied texts; any, if they have ASCII only and state no set.
    fn of(set: &DataSet<'_>) -> Self {
        let ascii = |attribute: &Attribute| {
            let bytes = set.bytes(attribute.tag).unwrap_or_default();
            // ESC switches between sets.
            bytes.iter().all(|byte| byte.is_ascii() && *byte != 0x1B)
        };
        match set.text(a::CHARACTER_SET.tag).as_deref() {
            Some("ISO_IR 192") => Self::Utf8,
            Some("ISO_IR 100") => Self::Latin1,
            None if STUDY.iter().chain(&FRAME_OF_REFERENCE).all(ascii) => Self::Utf8,
            _ => Self::Ascii,
        }
    }
}

/// Whether an element is needed: those of the header, and those that are copied.
fn is_copied(tag: Tag) -> bool {
    let lists: [&[Attribute]; 4] = [&STUDY, &IMAGE, &FRAME_OF_REFERENCE, &PLACE];
    let mut copied = lists.into_iter().flatten().chain(DATES.iter().flatten());
    tag.is_read()
        || tag == a::CHARACTER_SET.tag
        || tag == tags::PLANE_POSITION
        || tag == tags::PLANE_ORIENTATION
        || copied.any(|attribute| attribute.tag == tag)
}

/// Elements as they are encoded; all of these are strings, which no byte order changes. Absent ones are left out, or
/// have no value.
fn copied(set: &DataSet<'_>, attributes: &[Attribute], empty: bool) -> Object {
    let mut object = Object::default();
    for attribute in attributes {
        object = match set.bytes(attribute.tag) {
            Some(bytes) => object.bytes(*attribute, without_padding(bytes)),
            None if empty => object.empty(*attribute),
            None => object,
        };
    }
    object
}

/// Some files pad with the wrong byte.
fn without_padding(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b' '));
    bytes[..end.map_or(0, |last| last + 1)].to_vec()
}

fn identifier(set: &DataSet<'_>, attribute: Attribute, name: &str) -> Result<String, String> {
    set.text(attribute.tag).ok_or_else(|| {
        format!(
            "it has no {name} {}, to which a DICOM result would refer",
            attribute.tag
        )
    })
}

fn content(set: &DataSet<'_>) -> Option<Object> {
    let found = DATES
        .iter()
        .find_map(|[date, time]| set.bytes(date.tag).map(|date| (date, set.bytes(time.tag))));
    found.map(|(date, time)| {
        Object::default()
            .bytes(a::CONTENT_DATE, without_padding(date))
            .bytes(a::CONTENT_TIME, without_padding(time.unwrap_or(b"000000")))
    })
}

/// Position, orientation and the distance between pixels, if the image has all of them in the patient: the pixels of a
/// projection are not in a plane of it.
fn geometry(groups: Groups<'_, '_>, spacing: Option<SpacingAt>) -> Option<Geometry> {
    let of = |attribute: Attribute, group: Tag, values: usize| {
        let set = groups.with(attribute.tag, group);
        let numbers = set.numbers(attribute.tag, "geometry").ok()?;
        (numbers.len() == values).then(|| copied(set, &[attribute], false))
    };
    groups.set.bytes(a::FRAME_OF_REFERENCE.tag)?;
    spacing.filter(|at| *at == SpacingAt::Patient)?;
    let thickness = of(a::SLICE_THICKNESS, tags::PIXEL_MEASURES, 1).unwrap_or_default();
    Some(Geometry {
        position: of(a::IMAGE_POSITION, tags::PLANE_POSITION, 3)?,
        orientation: of(a::IMAGE_ORIENTATION, tags::PLANE_ORIENTATION, 6)?,
        measures: of(a::PIXEL_SPACING, tags::PIXEL_MEASURES, 2)?.with(thickness),
    })
}
