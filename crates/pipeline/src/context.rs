//! What stages share: settings, the run's folder, progress, and the data, which are read when first requested.

use anyhow::{Result, bail};
use collective::{Alone, Collective};
use dataset::{Crop, ImageRecord, IndexConfig, Loader, LoaderConfig, Manifest, Share, Splits};
use imaging::{Fit, Frame};
use report::{Document, Plane};

use crate::indexing;
use crate::names::{self, file_names};
use crate::order::Order;
use crate::pictures::plane;
use crate::regions::Regions;
use crate::run_dir::{RUN, RunDir};
use settings::{Settings, StageId};
use terminal::Interrupt;
use terminal::Progress;

mod masks;

/// Passed to every stage.
pub struct Context<'a> {
    /// Checked settings.
    pub settings: &'a Settings,
    /// Where results go.
    pub run: &'a RunDir,
    /// Where progress goes.
    pub progress: Progress,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
    /// The processes that work on the run; [`Alone`] unless [`Context::on`] is called.
    pub processes: &'a dyn Collective,
    indexed: &'a mut Indexed,
    data: Option<Data>,
}

/// The images of a data folder, indexed once for several runs in one process.
#[derive(Debug, Default)]
pub struct Indexed(Option<(IndexConfig, Manifest)>);

impl Indexed {
    /// Indexes the images of the settings with the other processes, which all make this call.
    ///
    /// # Errors
    /// As [`dataset::index`].
    pub(crate) fn read_together(
        &mut self,
        settings: &Settings,
        progress: Progress,
        processes: &dyn Collective,
    ) -> Result<Manifest> {
        let config = &settings.data.index;
        let manifest = indexing::index_together(config, progress, processes)?;
        self.0 = Some((config.clone(), manifest.clone()));
        Ok(manifest)
    }
}

/// The data set as this run sees it.
#[derive(Clone, Debug)]
pub struct Data {
    /// All images, with the splits of this run.
    pub manifest: Manifest,
    /// All images, with the splits of the folders.
    pub as_shipped: Manifest,
    /// Rows of each split.
    pub splits: Splits,
    /// Label of the positive class of binary metrics.
    pub positive: usize,
    /// Name, without extension, of the files written for each image.
    pub file_names: Vec<String>,
}

impl Data {
    /// A whole image as a grey plane of a size (height, width).
    ///
    /// # Errors
    /// As [`Manifest::framed`].
    pub(crate) fn grey(
        &self,
        record: &ImageRecord,
        size: (usize, usize),
        fit: Fit,
    ) -> Result<Plane> {
        plane(&self.manifest.framed(record, grey_frame(size, fit))?)
    }

    /// The part of an image that networks see as a grey plane of a size (height, width).
    ///
    /// # Errors
    /// As [`Manifest::framed`].
    pub(crate) fn grey_region(
        &self,
        record: &ImageRecord,
        size: (usize, usize),
        fit: Fit,
    ) -> Result<Plane> {
        plane(&self.manifest.framed_region(record, grey_frame(size, fit))?)
    }
}

fn grey_frame((height, width): (usize, usize), fit: Fit) -> Frame {
    Frame {
        height,
        width,
        channels: 1,
        fit,
    }
}

impl<'a> Context<'a> {
    /// A context that has read nothing but, perhaps, the index.
    pub fn new(
        settings: &'a Settings,
        run: &'a RunDir,
        progress: Progress,
        interrupt: &'a Interrupt,
        indexed: &'a mut Indexed,
    ) -> Self {
        Context {
            settings,
            run,
            progress,
            interrupt,
            processes: &Alone,
            indexed,
            data: None,
        }
    }

    /// The same, for one of the processes that work on the run.
    #[must_use]
    pub fn on(self, processes: &'a dyn Collective) -> Self {
        Context { processes, ..self }
    }

    /// The data set, indexed at the first call. A resumed run checks that the data are those it began with.
    ///
    /// # Errors
    /// As [`dataset::index`] and [`Splits::new`]; data that have changed since the run began.
    pub fn data(&mut self) -> Result<&Data> {
        let data = match self.data.take() {
            Some(data) => data,
            None => self.read_data()?,
        };
        Ok(self.data.insert(data))
    }

    /// A copy of the data set, for callers that need the context as well.
    ///
    /// # Errors
    /// As [`Context::data`].
    pub fn data_cloned(&mut self) -> Result<Data> {
        self.data().cloned()
    }

    fn read_data(&mut self) -> Result<Data> {
        let settings = &self.settings.data;
        let as_shipped = match self.indexed.0.take() {
            Some((config, manifest)) if config == settings.index => manifest,
            _ => {
                self.make_phantom()?;
                match (self.processes.size(), self.processes.rank()) {
                    (2.., 0) => {
                        Order::Index.give(self.processes)?;
                        self.indexed
                            .read_together(self.settings, self.progress, self.processes)?
                    }
                    _ => indexing::index(&settings.index, self.progress)?,
                }
            }
        };
        self.indexed.0 = Some((settings.index.clone(), as_shipped.clone()));
        let splits = Splits::new(&as_shipped, &settings.policy, settings.limit_per_class)?;
        let manifest = as_shipped.with_splits(&splits)?;
        let manifest = self.with_regions(manifest)?;
        let positive = positive_label(&manifest, settings.positive.as_deref())?;
        masks::check(self.settings, &manifest, &splits)?;
        self.check_fingerprint(&manifest.fingerprint())?;
        let paths: Vec<&str> = manifest.rows().iter().map(|r| r.path.as_str()).collect();
        let file_names = file_names(&paths, names::of_path);
        Ok(Data {
            manifest,
            as_shipped,
            splits,
            positive,
            file_names,
        })
    }

    /// The images with their regions, once the stage `region` has found them.
    fn with_regions(&self, manifest: Manifest) -> Result<Manifest> {
        let stage = StageId::Region.name();
        let found = self.run.record()?.done.iter().any(|done| done == stage);
        match self.settings.image.region.is_some() && found {
            true => Regions::read(self.run)?.attach(&manifest),
            false => Ok(manifest),
        }
    }

    /// From now on networks and baselines see only the regions of the images.
    ///
    /// # Errors
    /// The regions are not those of the images.
    pub(crate) fn attach(&mut self, regions: &Regions) -> Result<()> {
        if let Some(data) = &mut self.data {
            data.manifest = regions.attach(&data.manifest)?;
        }
        Ok(())
    }

    fn make_phantom(&self) -> Result<()> {
        let Some(subject) = &self.settings.data.phantom else {
            return Ok(());
        };
        let Some(folder) = self.settings.data.index.root.parent() else {
            return Ok(());
        };
        self.progress
            .say("  the images are phantoms drawn by this program, not images of patients");
        Ok(subject.generate(folder)?)
    }

    fn check_fingerprint(&self, found: &str) -> Result<()> {
        let mut record = self.run.record()?;
        match &record.data_fingerprint {
            Some(known) if known != found => bail!(
                "the images under {} have changed since this run began; start a new run instead of resuming it",
                self.settings.data.index.root.display()
            ),
            Some(_) => Ok(()),
            None if self.processes.rank() > 0 => Ok(()),
            None => {
                record.data_fingerprint = Some(found.into());
                self.run.write_json(RUN, &record)
            }
        }
    }

    /// A loader over some rows, in their order, without augmentation.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn loader(&mut self, rows: Vec<usize>) -> Result<Loader> {
        let config = self.loader_config(false);
        Ok(Loader::new(&self.data()?.manifest, rows, config)?)
    }

    /// How images are read; `training` enables shuffling and random crops.
    pub fn loader_config(&self, training: bool) -> LoaderConfig {
        let image = &self.settings.image;
        LoaderConfig {
            height: image.height,
            width: image.width,
            fit: image.fit,
            crop: image.crop.map(|(height, width)| Crop {
                height,
                width,
                random: training,
            }),
            channels: image.channels,
            batch_size: self.settings.train.batch_size,
            mean: image.mean.clone(),
            std: image.std.clone(),
            seed: self.settings.seed,
            shuffle: training,
            drop_last: false,
            queue: 2,
            cache_bytes: image.cache_bytes,
            share: Share::ALL,
            disk: image.disk.clone(),
        }
    }

    /// The batches of this process where all processes take turns.
    pub(crate) fn turns(&self) -> Share {
        Share::Batches {
            rank: self.processes.rank(),
            size: self.processes.size(),
        }
    }

    /// Saves a stage's part of the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn section(&self, stage: &str, section: &Document) -> Result<()> {
        self.run.folder("sections")?;
        self.run
            .write_json(&format!("sections/{stage}.json"), section)
    }
}

fn positive_label(manifest: &Manifest, name: Option<&str>) -> Result<usize> {
    let classes = manifest.classes();
    let Some(name) = name else {
        return Ok(classes.len().saturating_sub(1));
    };
    match classes.iter().position(|class| class == name) {
        Some(label) => Ok(label),
        None => bail!(
            "data.positive = \"{name}\" is not a class of the data; choose one of {}",
            classes.join(", ")
        ),
    }
}
