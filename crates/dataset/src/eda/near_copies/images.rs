//! The images to compare, and how alike two of them are.

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;

use super::correlation::{CORRELATION, Statistics, correlation, may_be_alike, product};
use super::outline::{Coarse, Fine};
use super::pairs::{Pair, Pairs};
use crate::small::{Signature, mirrored};
use crate::{DatasetError, ImageRecord, Manifest};

/// Small copies that a thread keeps at a time: 16 MB.
const KEPT: usize = 4096;

/// The images that are not of one colour; each is named by its position among them.
pub(super) struct Images<'m> {
    pub(super) manifest: &'m Manifest,
    /// Rows of the manifest.
    rows: Vec<u32>,
    pub(super) coarse: Vec<Coarse>,
    pub(super) fine: Vec<Fine>,
}

impl<'m> Images<'m> {
    pub(super) fn new(manifest: &'m Manifest) -> Self {
        let signature = |row: u32| manifest.rows()[row as usize].small.signature();
        let all = (0..manifest.rows().len() as u32).into_par_iter();
        let coloured = all.filter(|row| Statistics::of(signature(*row)).is_some());
        let rows: Vec<u32> = coloured.collect();
        let (mut coarse, mut fine) = (vec![], vec![]);
        let outlines = rows.par_iter().map(|row| {
            let signature = signature(*row);
            (Coarse::of(signature), Fine::of(signature))
        });
        outlines.unzip_into_vecs(&mut coarse, &mut fine);
        Self {
            manifest,
            rows,
            coarse,
            fine,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn record(&self, image: u32) -> &'m ImageRecord {
        &self.manifest.rows()[self.rows[image as usize] as usize]
    }

    pub(super) fn signature(&self, image: u32) -> &'m Signature {
        self.record(image).small.signature()
    }

    /// Which of some pairs are near-identical images in different files. Fast if pairs with images in common follow one
    /// another.
    pub(super) fn compared(
        &self,
        pairs: impl Iterator<Item = [u32; 2]>,
    ) -> Result<Pairs, DatasetError> {
        let mut copies = Copies::new(self);
        let mut found = vec![];
        for images in pairs {
            if let Some(similar) = copies.similar(images)? {
                found.push(self.pair(images, similar));
            }
        }
        Ok(Pairs::of(found))
    }

    fn pair(&self, images: [u32; 2], similar: Similar) -> Pair {
        let [a, b] = images.map(|image| self.record(image));
        Pair {
            images,
            correlation: similar.correlation,
            mirrored: similar.mirrored,
            // An image in no split is not used.
            crosses_splits: a.split.is_some() && b.split.is_some() && a.split != b.split,
            crosses_patients: self.manifest.patients_are_known() && a.patient != b.patient,
            crosses_classes: a.class != b.class,
        }
    }
}

/// How near-identical images are alike; as they are, if they are alike both ways.
#[derive(Clone, Copy)]
struct Similar {
    correlation: f64,
    mirrored: bool,
}

/// The small copies that were read last.
struct Copies<'i, 'm> {
    images: &'i Images<'m>,
    values: HashMap<u32, Cow<'m, [u8]>>,
}

impl<'i, 'm> Copies<'i, 'm> {
    fn new(images: &'i Images<'m>) -> Self {
        Self {
            images,
            values: HashMap::new(),
        }
    }

    /// `None` if the images are not near-identical, or their files are equal.
    fn similar(&mut self, images: [u32; 2]) -> Result<Option<Similar>, DatasetError> {
        let [a, b] = images.map(|image| self.images.record(image));
        for mirrored in [false, true] {
            let signatures = [a, b].map(|record| record.small.signature());
            if !may_be_alike(signatures, mirrored) || a.sha256 == b.sha256 {
                continue;
            }
            let correlation = self.correlation(images, mirrored)?;
            if correlation >= CORRELATION {
                return Ok(Some(Similar {
                    correlation,
                    mirrored,
                }));
            }
        }
        Ok(None)
    }

    fn correlation(&mut self, images: [u32; 2], mirror: bool) -> Result<f64, DatasetError> {
        if self.values.len() > KEPT {
            self.values.clear();
        }
        for image in images {
            if !self.values.contains_key(&image) {
                let record = self.images.record(image);
                let values = self.images.manifest.small_values(record)?;
                self.values.insert(image, values);
            }
        }
        let [a, b] = images.map(|image| self.values.get(&image).map_or(&[][..], AsRef::as_ref));
        let product = match mirror {
            true => product(&mirrored(a), b),
            false => product(a, b),
        };
        let of = |image| Statistics::of(self.images.signature(image));
        let both = of(images[0]).zip(of(images[1]));
        Ok(both.map_or(0.0, |(a, b)| correlation(f64::from(product), [&a, &b])))
    }
}
