//! What a run knows about itself, read from its folder.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use settings::{Settings, StageId};

use crate::context::Context;
use crate::outputs::Csv;
use crate::run_dir::RunRecord;
use crate::stages::{Metrics, SegmentationMetrics};

/// Marks what only the author knows, in all three files.
pub(super) const AUTHOR: &str = "*To be filled by the author.*";

/// What a run knows about itself. It contains no times, so that equal runs write equal files.
pub(super) struct Facts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) record: RunRecord,
    pub(super) metrics: Option<Metrics>,
    pub(super) segmentation: Option<SegmentationMetrics>,
    /// Of train, validation, test, and the images left out of all three.
    pub(super) splits: [SplitFacts; 4],
}

/// The images of a split.
#[derive(Debug, Default)]
pub(super) struct SplitFacts {
    pub(super) images: usize,
    /// Number of images of each class.
    pub(super) classes: BTreeMap<String, usize>,
    pub(super) patients: BTreeSet<String>,
}

/// Names of the splits in `splits.csv`.
const SPLITS: [&str; 4] = ["train", "val", "test", "dropped"];

impl<'a> Facts<'a> {
    /// Reads what the stages of the run have written.
    pub(super) fn read(context: &Context<'a>) -> Result<Self> {
        let run = context.run;
        Ok(Facts {
            settings: context.settings,
            record: run.record()?,
            metrics: run.read_json("metrics.json").ok(),
            segmentation: run.read_json("segmentation.json").ok(),
            splits: splits(Csv::open(&run.file("splits.csv"))?)?,
        })
    }

    /// Whether the images were drawn by a program.
    pub(super) fn phantoms(&self) -> bool {
        self.settings.data.phantom.is_some()
    }

    /// Whether the run has this stage.
    pub(super) fn has(&self, stage: StageId) -> bool {
        self.settings.stages.contains(&stage)
    }

    /// A link to a section of the report, if the stage that writes it has run.
    pub(super) fn see(&self, stage: StageId, heading: &str) -> Option<String> {
        let anchor = heading.to_lowercase().replace(' ', "-");
        let link = format!("[report, section “{heading}”](report.md#{anchor})");
        self.has(stage).then_some(link)
    }

    /// Whether some patient has several images, so that patients are told apart at all.
    pub(super) fn patients_known(&self) -> bool {
        let used = &self.splits[..3];
        let patients: usize = used.iter().map(|split| split.patients.len()).sum();
        patients < used.iter().map(|split| split.images).sum()
    }

    /// Number of patients in more than one of train, validation and test.
    pub(super) fn shared_patients(&self) -> usize {
        let mut seen = BTreeMap::<&str, usize>::new();
        for patient in self.splits[..3].iter().flat_map(|split| &split.patients) {
            *seen.entry(patient).or_default() += 1;
        }
        seen.values().filter(|splits| **splits > 1).count()
    }
}

fn splits(table: Csv) -> Result<[SplitFacts; 4]> {
    let mut splits: [SplitFacts; 4] = Default::default();
    table.each(|line| {
        let name = line.field("split")?;
        let split = SPLITS.iter().position(|known| *known == name);
        if let Some(split) = split.and_then(|i| splits.get_mut(i)) {
            split.images += 1;
            *split
                .classes
                .entry(line.field("class")?.into())
                .or_default() += 1;
            split.patients.insert(line.field("patient")?.into());
        }
        Ok(())
    })?;
    Ok(splits)
}
