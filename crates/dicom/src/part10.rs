//! The outside of a DICOM file (PS3.10): preamble, file meta information, transfer syntax.

use std::borrow::Cow;
use std::io::Read as _;

use crate::dataset::{Coding, DataSet, KNOWN_VRS};
use crate::syntax::Syntax;
use crate::tags::{self, Tag};

/// A file, divided into what the file meta information says and the data set.
pub(crate) struct File<'b> {
    pub(crate) syntax: Syntax,
    coding: Coding,
    body: &'b [u8],
}

/// Whether this is a DICOM file, with or without the preamble of 128 bytes.
///
/// Without it, a file counts if it begins with an element of group 0002 or 0008, as all data sets of images do.
pub fn is_dicom(bytes: &[u8]) -> bool {
    has_preamble(bytes) || begins_with_element(bytes)
}

fn has_preamble(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

fn begins_with_element(bytes: &[u8]) -> bool {
    let Some(&[g0, g1, e0, e1, a, b, c, d]) = bytes.first_chunk() else {
        return false;
    };
    let known = KNOWN_VRS.contains(&[a, b]);
    let little = matches!((g0, g1), (2 | 8, 0)) && e1 == 0;
    let big = matches!((g0, g1), (0, 2 | 8)) && e0 == 0 && known;
    // In implicit VR the length follows the tag; the first elements of a data set are short.
    let short = u32::from_le_bytes([a, b, c, d]) <= 64 && bytes.len() > 16;
    (little && (known || short)) || big
}

impl<'b> File<'b> {
    pub(crate) fn open(bytes: &'b [u8]) -> Result<Self, String> {
        if !is_dicom(bytes) {
            return Err("not a DICOM file".to_owned());
        }
        let rest = match has_preamble(bytes) {
            true => &bytes[132..],
            false => bytes,
        };
        let (meta, body) = DataSet::meta(rest)?;
        let syntax = match meta.text(tags::TRANSFER_SYNTAX) {
            Some(uid) => Syntax::of(&uid)?,
            None => Syntax::NATIVE,
        };
        let guessed = Coding::guess(body);
        let coding = Coding {
            // What a deflated data set begins with is not known yet; it is always explicit.
            explicit: syntax.deflated() || guessed.explicit,
            big_endian: match meta.text(tags::TRANSFER_SYNTAX) {
                Some(_) => syntax.big_endian(),
                None => guessed.big_endian,
            },
        };
        Ok(Self {
            syntax,
            coding,
            body,
        })
    }

    /// The bytes of the data set, inflated up to a limit.
    pub(crate) fn body(&self, limit: u64) -> Result<Cow<'b, [u8]>, String> {
        if !self.syntax.deflated() {
            return Ok(Cow::Borrowed(self.body));
        }
        let mut inflated = Vec::new();
        let decoder = flate2::read::DeflateDecoder::new(self.body);
        decoder
            .take(limit.saturating_add(1))
            .read_to_end(&mut inflated)
            .map_err(|error| format!("its deflated data set is damaged: {error}"))?;
        if inflated.len() as u64 > limit {
            return Err(format!(
                "its deflated data set has more than {} MB",
                limit / 1_000_000
            ));
        }
        Ok(Cow::Owned(inflated))
    }

    /// The elements of the data set that `keep` names.
    pub(crate) fn data_set<'d>(
        &self,
        body: &'d [u8],
        keep: fn(Tag) -> bool,
    ) -> Result<DataSet<'d>, String> {
        DataSet::read(body, self.coding, keep)
    }
}
