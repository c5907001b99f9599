//! Synthetic chest radiographs with known ground truth, as data for trying everything out.
//!
//! A body, lungs, ribs, spine, heart, vessels and clavicles are summed as X-ray attenuation and
//! exposed on a film; pneumonia is one or several soft opacities inside a lung. Exposure sets the
//! mean brightness of every image at random, independent of its content, and body, contrast, pose,
//! vessels, markers, leads and densities outside the lungs vary in the same way in both classes:
//! brightness alone does not distinguish them. Nothing here supports a medical claim.
//!
//! The folder that [`generate`] creates:
//! ```text
//! images/{train,val,test}/{NORMAL,PNEUMONIA}/….jpeg     or .png, .dcm: the settings' format
//! masks/{lungs,opacity}/{train,val,test}/{NORMAL,PNEUMONIA}/….png
//! phantom.txt                                    the settings used
//! ```
//!
//! Two smaller generators: [`generate_cells`] for membranes under the electron microscope,
//! [`generate_heads`] for four classes of brain slices.

mod anatomy;
mod cells;
mod example;
mod heads;
mod lesion;
mod paint;
mod plan;
mod radiograph;
mod shapes;
mod shot;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, ImageFormat, ImageResult};
use rayon::prelude::*;
use serde::Deserialize;

use crate::DatasetError;
pub use cells::{Cells, CellsConfig, generate_cells};
pub use example::{Drawn, Example};
pub use heads::{Heads, HeadsConfig, generate_heads};
use paint::{Painted, paint};
use plan::{Job, jobs};
use radiograph::radiograph;

/// Any of the phantoms, as named in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// Chest radiographs with and without pneumonia: [`generate`].
    Chest(PhantomConfig),
    /// Cells with membranes: [`generate_cells`].
    Cells(CellsConfig),
    /// Brain slices in four classes: [`generate_heads`].
    Heads(HeadsConfig),
}

impl Subject {
    /// Generates it in `dir`, whole or not at all, with images in `dir/images` and masks in
    /// `dir/masks`.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn generate(&self, dir: &Path) -> Result<(), DatasetError> {
        match self {
            Self::Chest(config) => generate(dir, config).map(drop),
            Self::Cells(config) => generate_cells(dir, config).map(drop),
            Self::Heads(config) => generate_heads(dir, config).map(drop),
        }
    }

    /// Pixels on the longer side.
    pub fn size(&self) -> usize {
        match self {
            Self::Chest(config) => config.size,
            Self::Cells(config) => config.size,
            Self::Heads(config) => config.size,
        }
    }
}

/// Number and kind of the images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhantomConfig {
    /// Width and height in pixels, at least 16.
    pub size: usize,
    /// Images of each class for training.
    pub train: ClassImages,
    /// Images of each class for validation.
    pub val: ClassImages,
    /// Images of each class for the test.
    pub test: ClassImages,
    /// Most images of one patient; each has from 1 to this number, with the same anatomy.
    pub images_per_patient: usize,
    /// 0: opacities are obvious; 1: most are hidden by the anatomy.
    pub difficulty: f64,
    /// The share of the images with pneumonia that have a bright mark in a corner, which no normal image has: a shortcut
    /// for a network, for trying whether it is found.
    pub shortcut: f64,
    /// How the images are stored.
    pub format: PhantomFormat,
    /// The same seed gives the same files (on one platform: the last bit of `exp` depends on it).
    pub seed: u64,
}

impl Default for PhantomConfig {
    /// 320 training and 128 test images at 96×96, with Kaggle's prevalences (74, 50, 62.5 %) and
    /// its validation folder of 16.
    fn default() -> Self {
        Self {
            size: 96,
            train: ClassImages {
                normal: 83,
                pneumonia: 237,
            },
            val: ClassImages {
                normal: 8,
                pneumonia: 8,
            },
            test: ClassImages {
                normal: 48,
                pneumonia: 80,
            },
            images_per_patient: 3,
            difficulty: 0.5,
            shortcut: 0.0,
            format: PhantomFormat::Jpeg,
            seed: 0,
        }
    }
}

/// Images of the two classes, at least 1 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassImages {
    /// Without opacity.
    pub normal: usize,
    /// With opacity.
    pub pneumonia: usize,
}

/// File format of the images; masks are always PNG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomFormat {
    /// Grey, quality 92, `.jpeg`.
    Jpeg,
    /// Grey, 8 bit, `.png`.
    Png,
    /// The grey of [`PhantomFormat::Png`] as radiographs of 12 bits, half of them MONOCHROME1, with windows and synthetic
    /// patients, `.dcm`.
    Dicom,
}

impl PhantomFormat {
    fn extension(self) -> &'static str {
        match self {
            PhantomFormat::Jpeg => "jpeg",
            PhantomFormat::Png => "png",
            PhantomFormat::Dicom => "dcm",
        }
    }
}

/// Paths of a phantom data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phantom {
    /// `train|val|test/NORMAL|PNEUMONIA/…`: the root to index.
    pub images: PathBuf,
    /// Lung masks in the same tree, the lung behind the heart included.
    pub lungs: PathBuf,
    /// Opacity masks in the same tree, empty for the normal images.
    pub opacity: PathBuf,
    /// Total number of images.
    pub count: usize,
}

/// Generates a phantom data set in `dir`, whole or not at all: a folder that already holds the
/// requested one is left unchanged, and one painted by an earlier version is replaced. If several
/// processes request the same data set, one of them generates it.
///
/// # Errors
/// A setting outside its range, a `dir` that holds something else, or a file that cannot be
/// written.
pub fn generate(dir: &Path, config: &PhantomConfig) -> Result<Phantom, DatasetError> {
    check(config)?;
    let jobs = jobs(config);
    let made = Phantom {
        images: dir.join("images"),
        lungs: dir.join("masks/lungs"),
        opacity: dir.join("masks/opacity"),
        count: jobs.len(),
    };
    make_once(dir, &format!("{config:?}"), |folder| {
        let write = |job: &Job| write_job(folder, config, job);
        jobs.par_iter().try_for_each(write)
    })?;
    Ok(made)
}

/// Fills a folder next to `dir` and then renames it; does nothing if `dir` was made with the same
/// settings. The stamp that records them is written last, after all other files.
fn make_once(
    dir: &Path,
    settings: &str,
    fill: impl FnOnce(&Path) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    if stamp(dir).as_deref() == Some(&stamp_of(settings)) {
        return Ok(());
    }
    // One process generates it; the others wait here and then find it complete.
    let turn = beside(dir, ".lock");
    let fail = |error| DatasetError::io("lock", &turn, error);
    files::create_folder(turn.parent().unwrap_or(dir)).map_err(fail)?;
    let _turn = files::Lock::at(&turn).map_err(fail)?;
    if stamp(dir).as_deref() == Some(&stamp_of(settings)) {
        return Ok(());
    }
    make(dir, settings, fill)
}

fn make(
    dir: &Path,
    settings: &str,
    fill: impl FnOnce(&Path) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let partial = prepare_folders(dir, settings)?;
    fill(&partial)?;
    write(&partial.join(STAMP), stamp_of(settings).as_bytes())?;
    files::persist_folder(&partial, dir).map_err(|error| DatasetError::io("write", dir, error))
}

const STAMP: &str = "phantom.txt";

fn stamp(dir: &Path) -> Option<String> {
    std::fs::read_to_string(dir.join(STAMP)).ok()
}

fn stamp_of(settings: &str) -> String {
    format!("painting {PAINTING}\n{settings}\n")
}

/// Incremented with every change to the painting, so that a folder made before the change is not
/// mistaken for a current one.
const PAINTING: u32 = 2;

fn check(config: &PhantomConfig) -> Result<(), DatasetError> {
    let PhantomConfig {
        size,
        difficulty,
        shortcut,
        images_per_patient,
        ..
    } = *config;
    if !(16..=4096).contains(&size) {
        return Err(DatasetError::setting(
            "size",
            size,
            "must be from 16 to 4096",
        ));
    }
    if !(0.0..=1.0).contains(&difficulty) {
        return Err(DatasetError::setting(
            "difficulty",
            difficulty,
            "must be from 0 to 1",
        ));
    }
    if !(0.0..=1.0).contains(&shortcut) {
        return Err(DatasetError::setting(
            "shortcut",
            shortcut,
            "must be from 0 to 1",
        ));
    }
    if images_per_patient == 0 {
        return Err(DatasetError::setting(
            "images_per_patient",
            0,
            "must be at least 1",
        ));
    }
    let counts = [config.train, config.val, config.test];
    if counts
        .iter()
        .any(|count| count.normal == 0 || count.pneumonia == 0)
    {
        return Err(DatasetError::setting(
            "images",
            0,
            "every class needs at least 1 image",
        ));
    }
    Ok(())
}

/// Creates the folder to write to before it is renamed to `dir`. What a killed process left there is
/// removed; the caller holds the lock, so no other process is using it.
fn prepare_folders(dir: &Path, settings: &str) -> Result<PathBuf, DatasetError> {
    let (partial, old) = (beside(dir, ".partial"), beside(dir, ".old"));
    let clear = |path: &Path| match path.exists() {
        true => std::fs::remove_dir_all(path),
        false => Ok(()),
    };
    let fail = |error| DatasetError::io("prepare", &partial, error);
    if is_outdated(dir, settings) {
        // Moved away in one step: a half-deleted folder must not be mistaken for a user's.
        clear(&old)
            .and_then(|()| std::fs::rename(dir, &old))
            .map_err(fail)?;
    }
    clear(&old).and_then(|()| clear(&partial)).map_err(fail)?;
    if dir.exists() {
        // Removes an empty folder only: any content is the user's.
        std::fs::remove_dir(dir).map_err(|error| DatasetError::io("replace", dir, error))?;
    }
    files::create_folder(&partial).map_err(fail)?;
    Ok(partial)
}

/// Whether a folder holds these phantoms as an earlier version of this program painted them.
fn is_outdated(dir: &Path, settings: &str) -> bool {
    let found = stamp(dir).unwrap_or_default();
    let earlier = found
        .split_once('\n')
        .filter(|_| found != stamp_of(settings));
    earlier.is_some_and(|(version, rest)| {
        version.starts_with("painting ") && rest.trim_end() == settings
    })
}

/// `dir` with a suffix added to its name.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    dir.with_file_name(name)
}

fn write_job(dir: &Path, config: &PhantomConfig, job: &Job) -> Result<(), DatasetError> {
    let Painted {
        image,
        lungs,
        opacity,
    } = paint(config, job);
    let place = |tree: &str, extension: &str| {
        dir.join(tree)
            .join(&job.folder)
            .join(format!("{}.{extension}", job.name))
    };
    let shape = [config.size; 2];
    let file = place("images", config.format.extension());
    match config.format {
        PhantomFormat::Jpeg => write_jpeg(&file, shape, image),
        PhantomFormat::Png => write_png(&file, shape, image),
        PhantomFormat::Dicom => write(&file, &radiograph(config, job, &image)),
    }?;
    write_png(&place("masks/lungs", "png"), shape, lungs)?;
    write_png(&place("masks/opacity", "png"), shape, opacity)
}

fn write_png(path: &Path, shape: [usize; 2], pixels: Vec<u8>) -> Result<(), DatasetError> {
    write_image(path, shape, pixels, |image, bytes| {
        image.write_to(bytes, ImageFormat::Png)
    })
}

fn write_jpeg(path: &Path, shape: [usize; 2], pixels: Vec<u8>) -> Result<(), DatasetError> {
    write_image(path, shape, pixels, |image, bytes| {
        JpegEncoder::new_with_quality(bytes, 92).encode_image(image)
    })
}

fn write_image(
    path: &Path,
    [rows, columns]: [usize; 2],
    pixels: Vec<u8>,
    encode: impl FnOnce(&GrayImage, &mut Cursor<Vec<u8>>) -> ImageResult<()>,
) -> Result<(), DatasetError> {
    let image = GrayImage::from_raw(columns as u32, rows as u32, pixels).unwrap_or_default();
    let mut bytes = Cursor::new(Vec::new());
    let fail = |error| DatasetError::io("encode", path, std::io::Error::other(error));
    encode(&image, &mut bytes).map_err(fail)?;
    write(path, bytes.get_ref())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DatasetError> {
    let fail = |error| DatasetError::io("write", path, error);
    path.parent()
        .map_or(Ok(()), files::create_folder)
        .map_err(fail)?;
    std::fs::write(path, bytes).map_err(fail)
}
