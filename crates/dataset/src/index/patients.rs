//! Whose images they are: by the table, the rules or the DICOM headers, with identifiers replaced by salted hashes.

use std::path::PathBuf;

use imaging::Header;

use super::Inspected;
use crate::acquisition::{Pseudonyms, is_placeholder};
use crate::config::{DataLayout, IndexConfig};
use crate::error::DatasetError;
use crate::left_out::BadImage;
use crate::manifest::PatientSource;
use crate::patient::PatientRules;
use crate::scan::Candidate;

/// The patient's key, if the table or a rule gives one.
pub(super) fn patient(
    candidate: &Candidate,
    rules: &PatientRules,
) -> Option<(String, PatientSource)> {
    let of_table = candidate.patient.clone();
    let of_rules = || rules.key(&candidate.path, candidate.depth);
    of_table
        .map(|key| (key, PatientSource::Table))
        .or_else(|| Some((of_rules()?, PatientSource::Rule)))
}

/// Replaces the patients of a table by salted hashes, and adds to the images of DICOM files what their headers identify,
/// hashed in the same way: the study, and the patient where neither table nor rules give one.
pub(super) fn identify(
    config: &IndexConfig,
    inspected: &mut [Result<Inspected, BadImage>],
) -> Result<(), DatasetError> {
    let Some(file) = salt_file(config, inspected) else {
        return Ok(());
    };
    let bytes = config.decoder.read(&file);
    let bytes = bytes.map_err(|reason| DatasetError::bad_image(&file, reason).vanished())?;
    let pseudonyms = Pseudonyms::salted_by(&bytes);
    let headers = inspected.iter().flatten();
    let placeholder = is_placeholder(headers.filter_map(|image| image.header.as_deref()));
    for image in inspected.iter_mut().flatten() {
        image.identify(&pseudonyms, placeholder);
    }
    Ok(())
}

/// The file that salts the hashes: the first DICOM file with an identifier, otherwise a table with patients; `None` if
/// nothing has to be hashed.
fn salt_file(config: &IndexConfig, inspected: &[Result<Inspected, BadImage>]) -> Option<PathBuf> {
    let images = || inspected.iter().flatten();
    let identifies = |header: &Header| header.patient_id.is_some() || header.study_uid.is_some();
    let mut of_dicom = images().filter(|image| image.header.as_deref().is_some_and(identifies));
    let of_table = |image: &Inspected| image.source == Some(PatientSource::Table);
    match (of_dicom.next(), &config.layout) {
        (Some(first), _) => Some(config.root.join(&first.record.path)),
        (None, DataLayout::Csv(table)) => images().any(of_table).then(|| table.file.clone()),
        _ => None,
    }
}

impl Inspected {
    /// `placeholder`: the Patient IDs of the data set mean nothing.
    fn identify(&mut self, pseudonyms: &Pseudonyms, placeholder: bool) {
        if self.source == Some(PatientSource::Table) {
            self.record.patient = pseudonyms.of("patient", &self.record.patient);
        }
        let Some(header) = &self.header else { return };
        let study = header.study_uid.as_deref();
        let study = study.map(|study| pseudonyms.of("study", study));
        let patient = header.patient_id.as_ref().filter(|_| !placeholder);
        let patient = patient.map(|id| pseudonyms.of("patient", id.reveal()));
        if let Some(study) = &study {
            let attributes = &mut self.record.attributes;
            attributes.entry("study".into()).or_insert(study.clone());
        }
        if self.source.is_some() {
            return;
        }
        let of_header = patient.map(|key| (key, PatientSource::Header));
        let of_study = || study.map(|key| (format!("study-{key}"), PatientSource::Study));
        if let Some((key, source)) = of_header.or_else(of_study) {
            self.record.patient = key;
            self.source = Some(source);
        }
    }

    /// Whether the path holds the Patient ID of the header, unless it is so short that this may be by chance.
    pub(super) fn reveals(&self) -> bool {
        let id = self.header.as_ref().and_then(|h| h.patient_id.as_ref());
        id.is_some_and(|id| id.reveal().len() >= 4 && self.record.path.contains(id.reveal()))
    }
}
