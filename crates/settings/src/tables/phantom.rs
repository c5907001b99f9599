//! `[phantom]`: generated images that stand in for data.

use std::path::{Path, PathBuf};

use dataset::phantom::{
    CellsConfig, ClassImages, HeadsConfig, PhantomConfig, PhantomFormat, Subject,
};
use dataset::{DataLayout, MaskConfig, SplitFolders};
use imaging::{MaskCoding, PixelValue};
use serde::Deserialize;

use super::place::Place;
use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Phantom {
    /// Evaluated before the settings are decoded: see [`crate::load`].
    #[serde(rename = "stands_in_for")]
    pub(crate) _stands_in_for: Option<String>,
    pub(crate) kind: PhantomKind,
    pub(crate) images: usize,
    pub(crate) per_class: [usize; 2],
    pub(crate) size: usize,
    pub(crate) train: [usize; 2],
    pub(crate) val: [usize; 2],
    pub(crate) test: [usize; 2],
    pub(crate) images_per_patient: usize,
    pub(crate) difficulty: f64,
    pub(crate) shortcut: f64,
    pub(crate) masks: Option<PhantomMasks>,
    pub(crate) format: PhantomFormat,
    pub(crate) seed: u64,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhantomKind {
    Chest,
    Cells,
    Heads,
}

impl PhantomKind {
    /// Each kind with its name and the keys that only it has.
    pub(crate) const OWN_KEYS: [(Self, &'static str, &'static [&'static str]); 3] = [
        (
            Self::Chest,
            "chest",
            &[
                "train",
                "val",
                "test",
                "images_per_patient",
                "difficulty",
                "shortcut",
                "masks",
                "format",
            ],
        ),
        (Self::Cells, "cells", &["images"]),
        (Self::Heads, "heads", &["per_class"]),
    ];
}

/// Which of the phantom's masks the map is trained on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhantomMasks {
    Lungs,
    Opacity,
}

impl PhantomMasks {
    pub(crate) fn folder(self) -> &'static str {
        match self {
            PhantomMasks::Lungs => "lungs",
            PhantomMasks::Opacity => "opacity",
        }
    }
}

impl Default for Phantom {
    fn default() -> Self {
        let dataset::phantom::PhantomConfig {
            size,
            train,
            val,
            test,
            images_per_patient,
            difficulty,
            shortcut,
            format,
            seed,
        } = Default::default();
        let pair = |c: dataset::phantom::ClassImages| [c.normal, c.pneumonia];
        let heads = dataset::phantom::HeadsConfig::default();
        Phantom {
            _stands_in_for: None,
            kind: PhantomKind::Chest,
            images: dataset::phantom::CellsConfig::default().images,
            per_class: [heads.train, heads.test],
            size,
            train: pair(train),
            val: pair(val),
            test: pair(test),
            images_per_patient,
            difficulty,
            shortcut,
            masks: None,
            format,
            seed,
        }
    }
}

/// The phantom's configuration; keys of another kind of phantom and values out of range are refused.
pub(crate) fn subject(keys: &Keys<'_>, raw: &Phantom) -> Result<Subject, ConfigError> {
    for (kind, name, own) in PhantomKind::OWN_KEYS {
        let unread = own.iter().map(|key| format!("phantom.{key}"));
        let mut unread = unread.filter(|key| kind != raw.kind && keys.tree.get(key).is_some());
        if let Some(key) = unread.next() {
            return Err(keys.refuse(
                &key,
                format!("this key is used with kind = \"{name}\" only"),
            ));
        }
    }
    let (size, seed) = (raw.size, raw.seed);
    match raw.kind {
        PhantomKind::Chest => chest(keys, chest_config(raw)).map(Subject::Chest),
        PhantomKind::Cells => {
            keys.within("phantom.size", size, 32, 4096)?;
            let images = keys.within("phantom.images", raw.images, 1, 100_000)?;
            Ok(Subject::Cells(CellsConfig { size, images, seed }))
        }
        PhantomKind::Heads => {
            keys.within("phantom.size", size, 32, 4096)?;
            let [train, test] = raw.per_class;
            keys.within("phantom.per_class", train.min(test), 1, 100_000)?;
            Ok(Subject::Heads(HeadsConfig {
                size,
                train,
                test,
                seed,
            }))
        }
    }
}

fn chest_config(raw: &Phantom) -> PhantomConfig {
    let class = |[normal, pneumonia]: [usize; 2]| ClassImages { normal, pneumonia };
    PhantomConfig {
        size: raw.size,
        train: class(raw.train),
        val: class(raw.val),
        test: class(raw.test),
        images_per_patient: raw.images_per_patient,
        difficulty: raw.difficulty,
        shortcut: raw.shortcut,
        format: raw.format,
        seed: raw.seed,
    }
}

fn chest(keys: &Keys<'_>, config: PhantomConfig) -> Result<PhantomConfig, ConfigError> {
    keys.within("phantom.size", config.size, 16, 4096)?;
    keys.within("phantom.difficulty", config.difficulty, 0.0, 1.0)?;
    keys.within("phantom.shortcut", config.shortcut, 0.0, 1.0)?;
    keys.within(
        "phantom.images_per_patient",
        config.images_per_patient,
        1,
        1000,
    )?;
    for (key, counts) in [
        ("train", config.train),
        ("val", config.val),
        ("test", config.test),
    ] {
        keys.within(
            &format!("phantom.{key}"),
            counts.normal.min(counts.pneumonia),
            1,
            1_000_000,
        )?;
    }
    Ok(config)
}

/// The folder of all phantoms, below that of the runs.
const PHANTOMS: &str = ".phantom";

/// The folder of runs that a run is in, by the phantoms that were drawn there; `None` if there are none.
pub fn runs_around(run: &Path) -> Option<&Path> {
    let mut around = run.ancestors().skip(1);
    around.find(|folder| folder.join(PHANTOMS).is_dir())
}

/// The layout in which the phantom is drawn, whatever the layout of the real data.
pub(crate) fn place(
    runs: &Path,
    subject: &Subject,
    chest_masks: Option<PhantomMasks>,
    (folders, coding): (SplitFolders, &MaskCoding),
) -> Place {
    let made = phantom_folder(runs, subject);
    let of_chest = |name: &str| (name.to_owned(), made.join("masks").join(name));
    let masks = |coding: MaskCoding| MaskConfig {
        coding,
        ..MaskConfig::tree(made.join("masks"))
    };
    let class_folders = |splits: SplitFolders, masks: Option<MaskConfig>| Place {
        root: made.join("images"),
        layout: DataLayout::ClassFolders,
        splits,
        masks,
        regions: vec![],
    };
    match subject {
        Subject::Chest(_) => {
            let tree = |which: PhantomMasks| made.join("masks").join(which.folder());
            let masks = chest_masks.map(|which| MaskConfig {
                coding: coding.clone(),
                ..MaskConfig::tree(tree(which))
            });
            Place {
                regions: ["lungs", "opacity"].map(of_chest).into(),
                ..class_folders(folders, masks)
            }
        }
        Subject::Cells(_) => {
            let names = ["membrane", "cell"].map(str::to_owned).into();
            let coding = MaskCoding {
                names,
                ..MaskCoding::default()
            };
            Place {
                layout: DataLayout::Images,
                ..class_folders(SplitFolders::none(), Some(masks(coding)))
            }
        }
        Subject::Heads(_) => {
            let splits = SplitFolders::new(Some("Training"), None, Some("Testing"));
            class_folders(splits, Some(masks(heads_coding())))
        }
    }
}

fn heads_coding() -> MaskCoding {
    let names = ["background", "glioma", "meningioma", "pituitary"];
    MaskCoding {
        values: (0..4)
            .map(|class| (PixelValue::Grey(class), class as u8))
            .collect(),
        names: names.map(str::to_owned).into(),
        ..MaskCoding::default()
    }
}

/// One folder per configuration, so that runs with the same phantoms share them.
fn phantom_folder(runs: &Path, subject: &Subject) -> PathBuf {
    let hash = files::sha256::hex(format!("{subject:?}").as_bytes());
    let runs = std::path::absolute(runs).unwrap_or_else(|_| runs.into());
    runs.join(PHANTOMS).join(&hash[..12])
}
