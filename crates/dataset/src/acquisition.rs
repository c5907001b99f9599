//! What DICOM headers say about images besides their pixels, without anything that identifies a person.

use std::collections::{BTreeMap, BTreeSet};

use files::sha256;
use imaging::{Header, SpacingAt};

/// Ages from this on are one group: few people are so old that the age alone would not identify them (HIPAA, 45 CFR
/// 164.514(b)(2)(i)(C)).
const OLD: f64 = 90.0;
/// Digits of a hash.
const DIGITS: usize = 16;

/// Attributes of an image by the names of their columns: the values that exist.
pub(crate) fn attributes(header: &Header) -> BTreeMap<String, String> {
    let age = header.age_years.map(|age| match age {
        age if age >= OLD => format!("{OLD}"),
        age => format!("{}", (age * 100.0).round() / 100.0),
    });
    let at = header.pixel_spacing.map(|spacing| match spacing.at {
        SpacingAt::Patient => "patient".to_owned(),
        SpacingAt::Detector => "detector".to_owned(),
    });
    let all = [
        ("modality", header.modality.clone()),
        ("manufacturer", header.manufacturer.clone()),
        ("view", header.view_position.clone()),
        ("laterality", header.laterality.clone()),
        ("body_part", header.body_part.clone()),
        ("age", age),
        ("sex", header.sex.clone()),
        ("spacing_at", at),
    ];
    let known = all.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value))
    });
    known.collect()
}

/// What the header of a DICOM file identifies, as salted hashes.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) patient: Option<String>,
    pub(crate) study: Option<String>,
}

/// Replaces identifiers by hashes with a salt.
pub(crate) struct Pseudonyms {
    salt: String,
}

impl Pseudonyms {
    /// With a salt from the content of a file of the data set. The same data give the same hashes, and whoever has only
    /// the hashes cannot try out identifiers, because the salt is not derivable from the file's own hash.
    pub(crate) fn salted_by(file: &[u8]) -> Self {
        let domain: &[u8] = b"salt of identifiers\0";
        Self {
            salt: sha256::of_parts([domain, file]),
        }
    }

    pub(crate) fn of(&self, kind: &str, identifier: &str) -> String {
        let parts = [self.salt.as_str(), kind, identifier].map(str::as_bytes);
        let separated = parts.into_iter().flat_map(|part| [part, b"\0".as_slice()]);
        let mut hash = sha256::of_parts(separated);
        hash.truncate(DIGITS);
        hash
    }
}

/// Whether all files have the same Patient ID although they are of several studies: a placeholder of a program that
/// removed the real ones.
pub(crate) fn is_placeholder<'i>(identities: impl Iterator<Item = &'i Identity>) -> bool {
    let (mut patients, mut studies, mut files) = (BTreeSet::new(), BTreeSet::new(), 0);
    for identity in identities {
        files += 1;
        patients.insert(identity.patient.as_deref());
        studies.insert(identity.study.as_deref());
    }
    files > 2 && patients.len() == 1 && studies.len() > 2 && !patients.contains(&None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_the_salt_the_kind_and_the_identifier() {
        let (one, other) = (Pseudonyms::salted_by(b"a"), Pseudonyms::salted_by(b"b"));
        let all = [
            one.of("patient", "1"),
            other.of("patient", "1"),
            one.of("study", "1"),
            one.of("patient", "2"),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(all.iter().all(|hash| hash.len() == DIGITS));
        assert_eq!(all[0], Pseudonyms::salted_by(b"a").of("patient", "1"));
    }
}
