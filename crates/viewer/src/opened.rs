//! Images that are being looked at: read once, and mapped once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Result, anyhow};
use imaging::ImageFile;
use pipeline::predict::{Found, Predictor};

use crate::Viewer;
use crate::study::Case;

/// Images that are kept: the one that is looked at, its neighbours, and those of another reader.
const KEPT: usize = 6;

/// An image in memory.
pub(crate) struct Opened {
    pub(crate) image: ImageFile,
    found: OnceLock<Result<Found, String>>,
}

/// The images that were opened last, with their numbers.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<(usize, Arc<Opened>)>>);

impl Opened {
    /// What the network finds in it.
    ///
    /// # Errors
    /// The network rejects it.
    pub(crate) fn found(&self, predictor: &Predictor) -> Result<&Found> {
        let found = self.found.get_or_init(|| {
            let found = predictor.find(std::slice::from_ref(&self.image)).pop();
            let none = || Err(anyhow!("the network returned no prediction"));
            found
                .unwrap_or_else(none)
                .map_err(|error| format!("{error:#}"))
        });
        found.as_ref().map_err(|reason| anyhow!(reason.clone()))
    }
}

impl Recent {
    fn get(&self, number: usize) -> Option<Arc<Opened>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = kept.iter();
        kept.find(|(own, _)| *own == number)
            .map(|(_, opened)| opened.clone())
    }

    fn put(&self, number: usize, opened: Arc<Opened>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(own, _)| *own != number);
        kept.push_front((number, opened));
        kept.truncate(KEPT);
    }
}

impl Viewer {
    /// The image of a case.
    ///
    /// # Errors
    /// As [`Images::read`](crate::study::Images::read).
    pub(crate) fn open(&self, number: usize) -> Result<Arc<Opened>> {
        if let Some(opened) = self.recent.get(number) {
            return Ok(opened);
        }
        let opened = Arc::new(Opened {
            image: self.read(self.case(number)?)?,
            found: OnceLock::new(),
        });
        self.recent.put(number, opened.clone());
        Ok(opened)
    }

    /// The image of a case, which is not kept.
    ///
    /// # Errors
    /// As [`Viewer::open`].
    pub(crate) fn read(&self, case: &Case) -> Result<ImageFile> {
        let study = self
            .study
            .as_ref()
            .ok_or_else(|| anyhow!("there is no run"))?;
        let predictor = self.predictor.as_ref();
        let decoder = predictor.map(|predictor| predictor.networks().first().decoder());
        study.images.read(case, decoder)
    }

    /// A case by its number.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn case(&self, number: usize) -> Result<&Case> {
        let study = self.study.as_ref();
        let case = study.and_then(|study| study.cases.get(number));
        case.ok_or_else(|| anyhow!("there is no case {number}"))
    }
}
