//! What a file says about its image, patient and acquisition.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dataset::DataSet;
use crate::layout::Layout;
use crate::syntax::Syntax;
use crate::tags::{self, Tag};

/// Facts from a file's header. The patient's name, dates and the accession number are never read.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Patient ID (0010,0020).
    pub patient_id: Option<PatientId>,
    /// Study Instance UID (0020,000D).
    pub study_uid: Option<String>,
    /// Series Instance UID (0020,000E).
    pub series_uid: Option<String>,
    /// SOP Instance UID (0008,0018), which identifies the file.
    pub sop_instance_uid: Option<String>,
    /// SOP Class UID (0008,0016), the kind of object.
    pub sop_class_uid: Option<String>,
    /// Modality (0008,0060): `DX`, `CR`, `CT`, …
    pub modality: Option<String>,
    /// Manufacturer (0008,0070).
    pub manufacturer: Option<String>,
    /// View Position (0018,5101): `PA`, `AP`, `LL`, …
    pub view_position: Option<String>,
    /// Image Laterality (0020,0062), otherwise Laterality (0020,0060): `L`, `R`, …
    pub laterality: Option<String>,
    /// Body Part Examined (0018,0015).
    pub body_part: Option<String>,
    /// Patient's Age (0010,1010) in years: `018M` is 1.5.
    pub age_years: Option<f64>,
    /// Patient's Sex (0010,0040): `F`, `M`, `O`.
    pub sex: Option<String>,
    /// Burned In Annotation (0028,0301): whether text in the pixels may identify the patient.
    pub burned_in_annotation: Option<bool>,
    /// The distance between pixels.
    pub pixel_spacing: Option<PixelSpacing>,
    /// Photometric Interpretation (0028,0004) as written in the file.
    pub photometric_interpretation: String,
    /// Rows of a frame.
    pub rows: u32,
    /// Columns of a frame.
    pub columns: u32,
    /// Number of frames.
    pub frames: u32,
    /// Samples per pixel: 1, or 3 in colour.
    pub samples_per_pixel: u16,
    /// Bits of a sample's container.
    pub bits_allocated: u16,
    /// Bits of it that are used.
    pub bits_stored: u16,
    /// Whether samples are signed.
    pub signed: bool,
    /// UID of the transfer syntax; empty if the file does not state it.
    pub transfer_syntax_uid: String,
    /// Name of the transfer syntax.
    pub transfer_syntax: &'static str,
}

/// A patient's identifier, for hashing only: neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PatientId(String);

impl PatientId {
    /// The identifier itself, which must not be stored or shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(…)")
    }
}

impl fmt::Display for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Millimetres between the centres of neighbouring pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelSpacing {
    /// From row to row.
    pub rows_mm: f64,
    /// From column to column.
    pub columns_mm: f64,
    /// Where it was measured.
    pub at: SpacingAt,
}

impl PixelSpacing {
    /// The area of a pixel in square millimetres.
    pub fn pixel_mm2(&self) -> f64 {
        self.rows_mm * self.columns_mm
    }
}

/// Where a distance between pixels was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpacingAt {
    /// In the patient, or calibrated: Pixel Spacing (0028,0030).
    Patient,
    /// At the detector, where a projection is larger than the patient: Imager Pixel Spacing (0018,1164).
    Detector,
}

impl Header {
    pub(crate) fn of(groups: Groups<'_, '_>, layout: &Layout, syntax: &Syntax) -> Self {
        let set = groups.set;
        let text = |tag| set.text(tag);
        Self {
            patient_id: text(tags::PATIENT_ID).map(PatientId),
            study_uid: text(tags::STUDY),
            series_uid: text(tags::SERIES),
            sop_instance_uid: text(tags::SOP_INSTANCE),
            sop_class_uid: text(tags::SOP_CLASS),
            modality: text(tags::MODALITY),
            manufacturer: text(tags::MANUFACTURER),
            view_position: text(tags::VIEW_POSITION),
            laterality: text(tags::IMAGE_LATERALITY).or_else(|| text(tags::LATERALITY)),
            body_part: text(tags::BODY_PART),
            age_years: text(tags::PATIENT_AGE).and_then(|age| years(&age)),
            sex: text(tags::PATIENT_SEX),
            burned_in_annotation: text(tags::BURNED_IN).and_then(|flag| yes_or_no(&flag)),
            pixel_spacing: spacing(groups),
            photometric_interpretation: text(tags::PHOTOMETRIC).unwrap_or_default(),
            rows: layout.rows,
            columns: layout.columns,
            frames: layout.frames,
            samples_per_pixel: layout.samples,
            bits_allocated: layout.allocated,
            bits_stored: layout.stored,
            signed: layout.signed,
            transfer_syntax_uid: syntax.uid.to_owned(),
            transfer_syntax: syntax.name,
        }
    }
}

/// A data set with the functional groups of one of its frames (PS3.3, C.7.6.16): what an enhanced object says for each
/// frame, or for all of them.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'s, 'b> {
    pub(crate) set: &'s DataSet<'b>,
    /// From 0.
    pub(crate) frame: usize,
}

impl<'s, 'b> Groups<'s, 'b> {
    /// The data set that has an attribute: a functional group of this frame or of all, otherwise the file itself.
    pub(crate) fn with(&self, attribute: Tag, group: Tag) -> &'s DataSet<'b> {
        let own = self.set.items(tags::PER_FRAME_GROUPS).get(self.frame);
        let shared = self.set.items(tags::SHARED_GROUPS).first();
        let groups = [own, shared].into_iter().flatten();
        let mut items = groups.filter_map(|groups| groups.items(group).first());
        let found = items.find(|item| item.element(attribute).is_some());
        found.unwrap_or(self.set)
    }
}

fn spacing(groups: Groups<'_, '_>) -> Option<PixelSpacing> {
    let patient = groups.with(tags::PIXEL_SPACING, tags::PIXEL_MEASURES);
    let of = |set: &DataSet<'_>, tag, at| match *set.numbers(tag, "pixel spacing").ok()? {
        [rows_mm, columns_mm, ..] if rows_mm > 0. && columns_mm > 0. => Some(PixelSpacing {
            rows_mm,
            columns_mm,
            at,
        }),
        _ => None,
    };
    of(patient, tags::PIXEL_SPACING, SpacingAt::Patient)
        .or_else(|| of(groups.set, tags::IMAGER_PIXEL_SPACING, SpacingAt::Detector))
}

/// An age string (PS3.5, section 6.2): three digits and a unit.
fn years(age: &str) -> Option<f64> {
    let unit = age.chars().last()?;
    let number: u16 = age.strip_suffix(unit)?.trim().parse().ok()?;
    let per_year = match unit {
        'Y' => 1.,
        'M' => 12.,
        'W' => 365.25 / 7.,
        'D' => 365.25,
        _ => return None,
    };
    Some(f64::from(number) / per_year)
}

fn yes_or_no(flag: &str) -> Option<bool> {
    match flag {
        "YES" => Some(true),
        "NO" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_years() {
        let check = |age: &str, expected: Option<f64>| assert_eq!(years(age), expected, "{age}");
        check("034Y", Some(34.));
        check("006M", Some(0.5));
        check("104W", Some(104. / (365.25 / 7.)));
        check("000D", Some(0.));
        check("34", None);
        check("Y", None);
        check("-01Y", None);
        check("03é", None);
    }

    #[test]
    fn a_patients_identifier_is_not_printed() {
        let id = PatientId("secret".to_owned());
        assert!(!format!("{id:?} {id}").contains("secret"));
        assert_eq!(id.reveal(), "secret");
    }
}
