//! Whose images they are: by the table, the rules or the DICOM headers, with identifiers replaced by salted hashes.

use std::path::PathBuf;

use imaging::Header;
use rayon::prelude::*;

use super::Inspected;
use super::entry::Salt;
use super::inspect::{Learned, With};
use crate::acquisition::{Identity, Pseudonyms, is_placeholder};
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

/// The hashes of the identifiers in DICOM files. The content of the first of these files, by path, is their salt.
pub(super) struct Salting<'c> {
    config: &'c IndexConfig,
    file: Option<Salt>,
    /// Whether a later change of the file would be noticed.
    settled: bool,
    /// Read when first needed.
    pseudonyms: Option<Pseudonyms>,
}

impl<'c> Salting<'c> {
    pub(super) fn new(config: &'c IndexConfig) -> Self {
        Self {
            config,
            file: None,
            settled: false,
            pseudonyms: None,
        }
    }

    /// Replaces the identifiers of the next images, in the order of their paths, by hashes. Images that the cache knows
    /// with another salt are read again.
    pub(super) fn hash_identifiers(
        &mut self,
        learned: &mut [Learned],
        candidates: &[Candidate],
        with: &With<'_>,
    ) -> Result<(), DatasetError> {
        loop {
            let first = learned.iter().find(|image| image.identifies());
            let first = first.map(|image| (image.as_salt(), image.known || image.keep));
            let (file, settled) = match (&self.file, first) {
                (None, Some((file, settled))) => (Some(file), settled),
                (file, _) => (file.clone(), self.settled),
            };
            let other_salt =
                |image: &Learned| image.salt().is_some() && image.salt() != file.as_ref();
            if !learned.iter().any(other_salt) {
                (self.file, self.settled) = (file, settled);
                break;
            }
            let images = learned.par_iter_mut().zip(candidates);
            images
                .filter(|(image, _)| other_salt(image))
                .for_each(|(image, candidate)| *image = Learned::of(candidate, with, None));
        }
        for image in learned {
            self.hash(image)?;
        }
        Ok(())
    }

    fn hash(&mut self, image: &mut Learned) -> Result<(), DatasetError> {
        let Some(header) = image.header.take().filter(|header| identifies(header)) else {
            return Ok(());
        };
        let (file, settled) = (self.file.clone(), self.settled);
        let Some(pseudonyms) = self.pseudonyms()? else {
            return Ok(());
        };
        let study = header.study_uid.as_deref();
        let patient = header.patient_id.as_ref();
        let study = study.map(|study| pseudonyms.of("study", study));
        let patient = patient.map(|id| pseudonyms.of("patient", id.reveal()));
        // Where a change of the salt would not be noticed, nothing that depends on it is kept.
        image.keep &= settled;
        if let Ok(Some(dicom)) = image.entry.image.as_mut().map(|image| image.dicom.as_mut()) {
            (dicom.study, dicom.patient, dicom.salt) = (study, patient, file);
        }
        Ok(())
    }

    /// `None` if no DICOM file has an identifier.
    fn pseudonyms(&mut self) -> Result<Option<&Pseudonyms>, DatasetError> {
        if let (None, Some(salt)) = (&self.pseudonyms, &self.file) {
            let file = self.config.root.join(&salt.path);
            self.pseudonyms = Some(salted_by(self.config, file)?);
        }
        Ok(self.pseudonyms.as_ref())
    }
}

fn salted_by(config: &IndexConfig, file: PathBuf) -> Result<Pseudonyms, DatasetError> {
    let bytes = config.decoder.read(&file);
    let bytes = bytes.map_err(|reason| DatasetError::bad_image(&file, reason).vanished())?;
    Ok(Pseudonyms::salted_by(&bytes))
}

fn identifies(header: &Header) -> bool {
    header.patient_id.is_some() || header.study_uid.is_some()
}

impl Learned {
    /// Whether it is a DICOM file with an identifier.
    fn identifies(&self) -> bool {
        self.header.as_deref().is_some_and(identifies) || self.salt().is_some()
    }

    /// What salts the hashes of a known image.
    fn salt(&self) -> Option<&Salt> {
        self.entry
            .image
            .as_ref()
            .ok()?
            .dicom
            .as_ref()?
            .salt
            .as_ref()
    }

    fn as_salt(&self) -> Salt {
        Salt {
            path: self.entry.path.clone(),
            stamp: self.entry.stamp,
        }
    }
}

/// Replaces the patients of a table by salted hashes, and adds to the images of DICOM files what their headers identify:
/// the study, and the patient where neither table nor rules give one.
pub(super) fn identify(
    config: &IndexConfig,
    salting: &mut Salting<'_>,
    inspected: &mut [Result<Inspected, BadImage>],
) -> Result<(), DatasetError> {
    let of_table = |image: &Inspected| image.source == Some(PatientSource::Table);
    if inspected.iter().flatten().any(of_table) {
        let of_file;
        let pseudonyms = match (salting.pseudonyms()?, &config.layout) {
            (Some(of_dicom), _) => of_dicom,
            (None, DataLayout::Csv(table)) => {
                of_file = salted_by(config, table.file.clone())?;
                &of_file
            }
            (None, _) => return Ok(()),
        };
        for image in inspected
            .iter_mut()
            .flatten()
            .filter(|image| of_table(image))
        {
            image.facts.patient = pseudonyms.of("patient", &image.facts.patient);
        }
    }
    let placeholder = is_placeholder(
        inspected
            .iter()
            .flatten()
            .filter_map(|i| i.identity.as_ref()),
    );
    for image in inspected.iter_mut().flatten() {
        image.identify(placeholder);
    }
    Ok(())
}

impl Inspected {
    /// `placeholder`: the Patient IDs of the data set mean nothing.
    fn identify(&mut self, placeholder: bool) {
        let Some(Identity { patient, study }) = self.identity.take() else {
            return;
        };
        if let Some(study) = &study {
            let attributes = &mut self.facts.attributes;
            attributes.entry("study".into()).or_insert(study.clone());
        }
        if self.source.is_some() {
            return;
        }
        let of_header = patient.filter(|_| !placeholder);
        let of_header = of_header.map(|key| (key, PatientSource::Header));
        let of_study = || study.map(|key| (format!("study-{key}"), PatientSource::Study));
        if let Some((key, source)) = of_header.or_else(of_study) {
            self.facts.patient = key;
            self.source = Some(source);
        }
    }
}
