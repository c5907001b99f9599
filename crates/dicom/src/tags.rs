//! The data elements that are read (PS3.6). All others are skipped, among them names, dates and accession numbers.

use std::fmt;

/// Group and element number of a data element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u16, pub(crate) u16);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.0, self.1)
    }
}

macro_rules! tags {
    ($($name:ident $group:literal $element:literal)*) => {
        $(pub(crate) const $name: Tag = Tag($group, $element);)*

        /// In the order of a data set.
        const READ: &[Tag] = &[$($name),*];
    };
}

tags! {
    TRANSFER_SYNTAX 0x0002 0x0010
    SOP_CLASS 0x0008 0x0016
    SOP_INSTANCE 0x0008 0x0018
    MODALITY 0x0008 0x0060
    MANUFACTURER 0x0008 0x0070
    PATIENT_ID 0x0010 0x0020
    PATIENT_SEX 0x0010 0x0040
    PATIENT_AGE 0x0010 0x1010
    BODY_PART 0x0018 0x0015
    IMAGER_PIXEL_SPACING 0x0018 0x1164
    VIEW_POSITION 0x0018 0x5101
    STUDY 0x0020 0x000D
    SERIES 0x0020 0x000E
    LATERALITY 0x0020 0x0060
    IMAGE_LATERALITY 0x0020 0x0062
    SAMPLES 0x0028 0x0002
    PHOTOMETRIC 0x0028 0x0004
    PLANAR 0x0028 0x0006
    FRAMES 0x0028 0x0008
    ROWS 0x0028 0x0010
    COLUMNS 0x0028 0x0011
    PIXEL_SPACING 0x0028 0x0030
    BITS_ALLOCATED 0x0028 0x0100
    BITS_STORED 0x0028 0x0101
    HIGH_BIT 0x0028 0x0102
    SIGNED 0x0028 0x0103
    PADDING 0x0028 0x0120
    PADDING_LIMIT 0x0028 0x0121
    BURNED_IN 0x0028 0x0301
    WINDOW_CENTER 0x0028 0x1050
    WINDOW_WIDTH 0x0028 0x1051
    INTERCEPT 0x0028 0x1052
    SLOPE 0x0028 0x1053
    VOI_FUNCTION 0x0028 0x1056
    RED 0x0028 0x1101
    GREEN 0x0028 0x1102
    BLUE 0x0028 0x1103
    RED_DATA 0x0028 0x1201
    GREEN_DATA 0x0028 0x1202
    BLUE_DATA 0x0028 0x1203
    RED_SEGMENTS 0x0028 0x1221
    GREEN_SEGMENTS 0x0028 0x1222
    BLUE_SEGMENTS 0x0028 0x1223
    MODALITY_LUT 0x0028 0x3000
    LUT_DESCRIPTOR 0x0028 0x3002
    LUT_DATA 0x0028 0x3006
    VOI_LUT 0x0028 0x3010
    PIXEL_MEASURES 0x0028 0x9110
    FRAME_VOI 0x0028 0x9132
    PIXEL_TRANSFORMATION 0x0028 0x9145
    SHARED_GROUPS 0x5200 0x9229
    PER_FRAME_GROUPS 0x5200 0x9230
    EXTENDED_OFFSETS 0x7FE0 0x0001
    FLOAT_PIXELS 0x7FE0 0x0008
    DOUBLE_PIXELS 0x7FE0 0x0009
    PIXELS 0x7FE0 0x0010
}

/// Functional groups of a frame's place, which only `write::Source` reads.
pub(crate) const PLANE_POSITION: Tag = Tag(0x0020, 0x9113);
pub(crate) const PLANE_ORIENTATION: Tag = Tag(0x0020, 0x9116);

/// Delimiters of sequences and items.
pub(crate) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(crate) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(crate) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

impl Tag {
    pub(crate) fn is_read(self) -> bool {
        READ.binary_search(&self).is_ok()
    }

    /// Whether it is a sequence, which implicit VR does not say.
    pub(crate) fn is_sequence(self) -> bool {
        matches!(
            self,
            MODALITY_LUT
                | VOI_LUT
                | PIXEL_MEASURES
                | FRAME_VOI
                | PIXEL_TRANSFORMATION
                | SHARED_GROUPS
                | PLANE_POSITION
                | PLANE_ORIENTATION
                | PER_FRAME_GROUPS
        )
    }

    /// Whether the pixels are in it. It is the last element that is read.
    pub(crate) fn is_pixels(self) -> bool {
        matches!(self, FLOAT_PIXELS | DOUBLE_PIXELS | PIXELS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_holds_no_name_date_or_accession_number() {
        assert!(READ.is_sorted());
        for (group, element) in [
            (0x0010, 0x0010),
            (0x0010, 0x0030),
            (0x0008, 0x0050),
            (0x0008, 0x0020),
        ] {
            assert!(!Tag(group, element).is_read());
        }
    }
}
