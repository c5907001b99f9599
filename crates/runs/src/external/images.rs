//! The images to evaluate: indexed, with the labels of the model's classes.

use std::path::Path;

use anyhow::{Result, bail};
use dataset::{DataLayout, IndexConfig, Manifest, Split, SplitFolders};
use pipeline::words::count;
use settings::Settings;
use terminal::Progress;

use super::known::KnownImages;
use super::trained::Trained;

/// The images to evaluate.
pub(super) struct Images {
    /// The whole data set.
    pub(super) manifest: Manifest,
    /// The requested split.
    pub(super) split: Option<Split>,
    /// Rows of the manifest that are evaluated.
    pub(super) rows: Vec<usize>,
    /// The true class of each, as numbered by the model.
    pub(super) labels: Vec<usize>,
    /// A number for the patient of each.
    pub(super) patients: Vec<usize>,
}

impl Images {
    /// Indexes the data folder of the settings, and takes the images of a split, or all.
    ///
    /// # Errors
    /// As [`dataset::index`], a split without images, or a class that the model does not know.
    pub(super) fn find(
        settings: &Settings,
        trained: &Trained,
        split: Option<Split>,
        progress: Progress,
    ) -> Result<Self> {
        let config = index_config(settings, trained);
        let manifest = pipeline::index(&config, progress)?;
        let rows = match split {
            None => (0..manifest.rows().len()).collect(),
            Some(split) => rows_of(&manifest, split, trained.known.as_ref())?,
        };
        Ok(Self {
            labels: labels(&manifest, &rows, trained.classes())?,
            patients: pipeline::patient_ids(&manifest, &rows),
            manifest,
            split,
            rows,
        })
    }

    /// Number of images of each class of the model.
    pub(super) fn counts(&self, classes: usize) -> Vec<usize> {
        let of = |class| self.labels.iter().filter(|label| **label == class).count();
        (0..classes).map(of).collect()
    }

    /// Number of images whose file is in a split of the run.
    pub(super) fn seen(&self, known: &KnownImages, split: Split) -> usize {
        let contents = known.contents(split);
        let files = self.rows.iter().map(|row| &self.manifest.rows()[*row]);
        files
            .filter(|r| contents.contains(r.sha256.as_str()))
            .count()
    }

    /// Whether these are exactly the images of a split of the run.
    pub(super) fn is_split_of(&self, known: &KnownImages, split: Split) -> bool {
        let of_split = |row: &usize| {
            let record = &self.manifest.rows()[*row];
            let image = known.at(&record.path);
            image.is_some_and(|i| i.split == Some(split) && i.sha256 == record.sha256)
        };
        self.rows.len() == known.of(split).count() && self.rows.iter().all(of_split)
    }
}

/// What to index: all classes that the folder has, and of the split folders those that exist.
fn index_config(settings: &Settings, trained: &Trained) -> IndexConfig {
    let index = settings.data.index.clone();
    IndexConfig {
        splits: match index.layout {
            DataLayout::Csv(_) => index.splits,
            _ => existing(&index.splits, &index.root),
        },
        incomplete: true,
        decoder: trained.networks.first().decoder(),
        ..index
    }
}

fn existing(folders: &SplitFolders, root: &Path) -> SplitFolders {
    let there = |name: &Option<String>| name.clone().filter(|name| root.join(name).is_dir());
    SplitFolders {
        train: there(&folders.train),
        val: there(&folders.val),
        test: there(&folders.test),
    }
}

/// The images of a split: of the run's, if the data are the run's own, otherwise of the folders' or the table's.
fn rows_of(manifest: &Manifest, split: Split, known: Option<&KnownImages>) -> Result<Vec<usize>> {
    let own = known.filter(|known| same_data(manifest, known));
    let images = manifest.rows().iter().enumerate();
    let of_split = images.filter(|(_, record)| {
        let shipped = record.split;
        own.map_or(shipped, |known| {
            known.at(&record.path).and_then(|i| i.split)
        }) == Some(split)
    });
    let rows: Vec<usize> = of_split.map(|(row, _)| row).collect();
    if rows.is_empty() {
        bail!(
            "{} has {}, but none in the split {split}, which needs a folder of its own (data.folders) or a column of the \
             table: use --split all",
            manifest.root().display(),
            count(manifest.rows().len(), "image"),
        );
    }
    Ok(rows)
}

/// Whether the images are those of the run: the same paths, classes and contents.
fn same_data(manifest: &Manifest, known: &KnownImages) -> bool {
    let rows = manifest.rows();
    rows.len() == known.len()
        && rows.iter().all(|record| {
            let image = known.at(&record.path);
            let class = &manifest.classes()[record.class];
            image.is_some_and(|i| i.sha256 == record.sha256 && i.class == *class)
        })
}

/// The model's number of the class of each row.
fn labels(manifest: &Manifest, rows: &[usize], model: &[String]) -> Result<Vec<usize>> {
    let known = |class: &String| model.iter().position(|name| name == class);
    let of_class: Vec<Option<usize>> = manifest.classes().iter().map(known).collect();
    let label = |row: &usize| {
        let class = manifest.rows()[*row].class;
        match of_class[class] {
            Some(label) => Ok(label),
            None => {
                let class = &manifest.classes()[class];
                bail!(
                    "{} has the class {class:?}, which the model does not know; its classes are {}. Give the name that the \
                     model uses with --set 'data.names={{{class:?}=\"{}\"}}', or name the folders to evaluate with --set \
                     'data.classes=[…]'",
                    manifest.root().display(),
                    model.join(", "),
                    model.first().map_or("", String::as_str),
                )
            }
        }
    };
    rows.iter().map(label).collect()
}
