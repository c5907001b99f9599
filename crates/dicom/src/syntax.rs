//! Transfer syntaxes (PS3.5, annex A; PS3.6, table A-1): how a data set is written and its pixels compressed.

/// A transfer syntax that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) uid: &'static str,
    pub(crate) name: &'static str,
    pub(crate) pixels: Pixels,
}

/// How the pixels are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    Native,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
}

const READ: [Syntax; 15] = [
    of(
        "1.2.840.10008.1.2",
        "Implicit VR Little Endian",
        Pixels::Native,
    ),
    of(
        "1.2.840.10008.1.2.1",
        "Explicit VR Little Endian",
        Pixels::Native,
    ),
    of(
        DEFLATED,
        "Deflated Explicit VR Little Endian",
        Pixels::Native,
    ),
    of(BIG_ENDIAN, "Explicit VR Big Endian", Pixels::Native),
    of(
        "1.2.840.10008.1.2.1.98",
        "Encapsulated Uncompressed Explicit VR Little Endian",
        Pixels::Native,
    ),
    of("1.2.840.10008.1.2.5", "RLE Lossless", Pixels::Rle),
    of(
        "1.2.840.10008.1.2.4.50",
        "JPEG Baseline (Process 1)",
        Pixels::Jpeg,
    ),
    of(
        "1.2.840.10008.1.2.4.51",
        "JPEG Extended (Process 2 and 4)",
        Pixels::Jpeg,
    ),
    of(
        "1.2.840.10008.1.2.4.55",
        "JPEG Full Progression (Process 10 and 12)",
        Pixels::Jpeg,
    ),
    of(
        "1.2.840.10008.1.2.4.57",
        "JPEG Lossless (Process 14)",
        Pixels::Jpeg,
    ),
    of(
        "1.2.840.10008.1.2.4.70",
        "JPEG Lossless (Process 14, Selection Value 1)",
        Pixels::Jpeg,
    ),
    of("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", Pixels::JpegLs),
    of(
        "1.2.840.10008.1.2.4.81",
        "JPEG-LS Near-Lossless",
        Pixels::JpegLs,
    ),
    of(
        "1.2.840.10008.1.2.4.90",
        "JPEG 2000 Lossless",
        Pixels::Jpeg2000,
    ),
    of("1.2.840.10008.1.2.4.91", "JPEG 2000", Pixels::Jpeg2000),
];

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Those that are refused, by the beginning of their UIDs; the longest first.
const REFUSED: [(&str, &str); 10] = [
    ("1.2.840.10008.1.2.4.20", "High-Throughput JPEG 2000"),
    ("1.2.840.10008.1.2.4.10", "MPEG video"),
    ("1.2.840.10008.1.2.4.11", "JPEG XL"),
    ("1.2.840.10008.1.2.4.92", "JPEG 2000 multi-component"),
    ("1.2.840.10008.1.2.4.93", "JPEG 2000 multi-component"),
    ("1.2.840.10008.1.2.4.9", "JPIP"),
    ("1.2.840.10008.1.2.4.", "a retired JPEG process"),
    ("1.2.840.10008.1.2.7", "SMPTE video"),
    ("1.2.840.10008.1.2.8", "Deflated Image Frame"),
    ("1.2.840.113619.5.2", "GE Private Implicit VR Big Endian"),
];

const fn of(uid: &'static str, name: &'static str, pixels: Pixels) -> Syntax {
    Syntax { uid, name, pixels }
}

impl Syntax {
    /// Of a file that does not state it.
    pub(crate) const NATIVE: Syntax = of("", "not stated", Pixels::Native);

    pub(crate) fn of(uid: &str) -> Result<Self, String> {
        if let Some(known) = READ.iter().find(|known| known.uid == uid) {
            return Ok(*known);
        }
        let refused = REFUSED.iter().find(|(start, _)| uid.starts_with(start));
        let name = refused.map_or("unknown", |(_, name)| name);
        Err(format!(
            "its transfer syntax is {uid} ({name}), which is not read; convert it to Explicit VR Little Endian, for \
             example by `gdcmconv --raw`"
        ))
    }

    pub(crate) fn deflated(&self) -> bool {
        self.uid == DEFLATED
    }

    pub(crate) fn big_endian(&self) -> bool {
        self.uid == BIG_ENDIAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_transfer_syntaxes_are_refused_by_name() {
        let check = |uid: &str, expected: &str| {
            let reason = Syntax::of(uid).unwrap_err();
            assert!(
                reason.contains(uid) && reason.contains(expected),
                "{reason}"
            );
        };
        check("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000");
        check("1.2.840.10008.1.2.4.102", "MPEG");
        check("1.2.840.10008.1.2.4.110", "JPEG XL");
        check("1.2.840.10008.1.2.4.52", "retired");
        check("1.2.3", "unknown");
        assert_eq!(
            Syntax::of("1.2.840.10008.1.2.5").unwrap().pixels,
            Pixels::Rle
        );
    }
}
