//! Data folders: their contents and file names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use dataset::{
    DataLayout, DatasetError, Eda, EdaConfig, IndexConfig, Loader, LoaderConfig, Manifest,
    MaskConfig, SplitFolders, SplitPolicy, Splits, index,
};

use crate::case::Content;
use crate::formats::{jpeg, png};
use crate::seeds::{self, two};
use crate::{Case, Outcome, Rng, Session, Target};

pub(super) struct Folder;

impl Target for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn about(&self) -> &'static str {
        "a data folder with circular links, pipes, devices, unusual names, copies and bad files: index, splits, EDA, \
         batches"
    }

    fn memory(&self) -> usize {
        2 << 30
    }

    fn short(&self) -> u64 {
        400
    }

    fn file(&self) -> &'static str {
        "train/a/1.png"
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Folders {
            pngs: seeds::pngs(),
            jpegs: seeds::jpegs(),
        }))
    }
}

struct Folders {
    pngs: Vec<Vec<u8>>,
    jpegs: Vec<Vec<u8>>,
}

impl Session for Folders {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut case = Case::default();
        for folder in ["train/a", "train/b", "test/a", "test/b"] {
            for i in 1..=2 + rng.below(2) {
                let (jpeg, png) = (two(rng, &self.jpegs).0, two(rng, &self.pngs).0);
                case = match rng.once_in(3) {
                    true => case.with(format!("{folder}/{i}.jpg"), jpeg.to_vec()),
                    false => case.with(format!("{folder}/{i}.png"), png.to_vec()),
                };
            }
        }
        loop {
            self.change(rng, &mut case);
            if !rng.once_in(2) {
                return case;
            }
        }
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let classes = IndexConfig {
            root: input.into(),
            splits: SplitFolders::new(Some("train"), None, Some("test")),
            ..IndexConfig::default()
        };
        let images = IndexConfig {
            root: input.into(),
            layout: DataLayout::Images,
            splits: SplitFolders::none(),
            masks: Some(MaskConfig::beside("{stem}_mask.png")),
            ..IndexConfig::default()
        };
        let holdout = SplitPolicy::Holdout {
            val: 0.25,
            test: 0.25,
            seed: 1,
        };
        let outcomes = [
            read(&classes, &SplitPolicy::default()),
            read(&images, &holdout),
        ];
        let [first, second] = outcomes.map(|outcome| outcome.unwrap_or(Outcome::Refused));
        match (&first, &second) {
            (Outcome::Wrong(_), _) => first,
            (_, Outcome::Wrong(_)) | (Outcome::Accepted, _) => second,
            _ => first,
        }
    }
}

impl Folders {
    fn change(&self, rng: &mut Rng, case: &mut Case) {
        let at = rng.below(case.files.len());
        let Some((path, _)) = case.files.get(at).cloned() else {
            return;
        };
        let beside = |name: &Path| path.with_file_name(name);
        let new = match rng.below(12) {
            0 => return drop(case.files.remove(at)),
            1 | 2 => return case.files[at].0 = beside(&name(rng)),
            3 => (beside(&name(rng)), case.files[at].1.clone()),
            4 => (beside(Path::new("link.png")), link(rng)),
            5 => (beside(Path::new("folder")), link(rng)),
            6 => (beside(Path::new("pipe.png")), Content::Pipe),
            7 => (beside(Path::new("folder.png")), Content::Folder),
            8 => {
                let deep: PathBuf = (0..rng.length(40)).map(|i| format!("d{i}")).collect();
                (beside(&deep.join("deep.png")), case.files[at].1.clone())
            }
            9 => {
                let folder =
                    ["__MACOSX", ".git", "masks", "overlays", "a", "lost+found"][rng.below(6)];
                (
                    beside(&Path::new(folder).join("1.png")),
                    case.files[at].1.clone(),
                )
            }
            10 => {
                let (seed, other) = two(rng, &self.jpegs);
                (path, Content::Bytes(jpeg::mutate(rng, seed, other)))
            }
            _ => {
                let (seed, other) = two(rng, &self.pngs);
                (path, Content::Bytes(png::mutate(rng, seed, other)))
            }
        };
        case.files.push(new);
    }
}

fn link(rng: &mut Rng) -> Content {
    const TO: [&str; 10] = [
        ".",
        "..",
        "../..",
        "../a",
        "1.png",
        "link.png",
        "missing",
        "/dev/zero",
        "/dev/null",
        "/dev/full",
    ];
    Content::Link(TO[rng.below(TO.len())].into())
}

/// An unusual name that is a single path component.
fn name(rng: &mut Rng) -> PathBuf {
    const NAMES: [&[u8]; 22] = [
        b"1.PNG",
        b"1_mask.png",
        b"_mask.png",
        b".png",
        b"._1.png",
        b"a.jpeg.png",
        b"a b(1).png",
        b"\xFF\xFE.png",
        b"a\nb.png",
        b"a,b.png",
        b"a\"b.png",
        b"`$(x)`.png",
        b"<img src=x>.png",
        b"\x1b[31mred.png",
        b"\xE2\x80\xAEgnp.png",
        b"-rf.png",
        b"Thumbs.db",
        b"notes.txt",
        b"1.dcm",
        b"1.png.tmp",
        b"CON.png",
        b"a|b\\c.png",
    ];
    let name = match rng.below(10) {
        0 => [vec![b'n'; rng.length(251)], b".png".to_vec()].concat(),
        _ => NAMES[rng.below(NAMES.len())].to_vec(),
    };
    OsString::from_vec(name).into()
}

/// Index, splits, analysis, and a pass over all images.
fn read(config: &IndexConfig, policy: &SplitPolicy) -> Result<Outcome, DatasetError> {
    let manifest = index(config)?;
    if let Some(twice) = walked_twice(&manifest) {
        return Ok(Outcome::Wrong(format!(
            "{} is reached by two paths",
            twice.display()
        )));
    }
    let splits = Splits::new(&manifest, policy, None)?;
    let manifest = manifest.with_splits(&splits)?;
    Eda::new(&manifest, &EdaConfig::default())?;
    let rows = [splits.train, splits.val, splits.test].concat();
    let batches = LoaderConfig {
        height: 16,
        width: 16,
        batch_size: 4,
        ..LoaderConfig::default()
    };
    let mut seen = 0;
    for batch in Loader::new(&manifest, rows.clone(), batches)?.epoch(0) {
        let batch = batch?;
        seen += batch.len;
        if batch.images.len() != batch.len * 16 * 16 * 3
            || batch.images.iter().any(|v| !v.is_finite())
        {
            return Ok(Outcome::Wrong(
                "a batch has the wrong number of values, or values that are not finite".into(),
            ));
        }
    }
    Ok(Outcome::accepted_if(seen == rows.len(), || {
        format!("{seen} of {} images were in a batch", rows.len())
    }))
}

/// An image that a link makes appear twice, which could put it into two splits.
fn walked_twice(manifest: &Manifest) -> Option<PathBuf> {
    let mut seen = BTreeSet::new();
    let files = manifest.rows().iter().map(|row| manifest.image_file(row));
    let real = |file: PathBuf| Some(file.parent()?.canonicalize().ok()?.join(file.file_name()?));
    files
        .filter_map(real)
        .find(|file| !seen.insert(file.clone()))
}
