//! Checked settings: one type whose values are all good.

use std::path::{Path, PathBuf};

use augment::AugmentConfig;
use dataset::phantom::Subject;
use dataset::{IndexConfig, Layout, MaskConfig, MaskPlace, SplitFolders, SplitPolicy};
use imaging::{Decoder, Fit, MaskCoding, PixelValue};
use model::build::ModelSpec;
use model::engine::{Choice, Precision};
use model::graph::Graph;
use morphology::BorderWeights;
use train::TrainConfig;

use super::check::{self, Keys};
use super::decode::decode;
use super::raw::{self, Threshold};
use super::tree::{Node, Origin, Value};
use super::{ConfigError, Request};
use crate::stages::Stage;

/// Everything that a run needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The pipeline's name.
    pub name: String,
    /// The report's title.
    pub title: String,
    /// Decides every random number.
    pub seed: u64,
    /// Where networks run.
    pub device: Choice,
    /// What convolutions multiply.
    pub precision: Precision,
    /// What runs, in order.
    pub stages: Vec<&'static dyn Stage>,
    /// `[data]` and `[phantom]`.
    pub data: DataSettings,
    /// `[image]`.
    pub image: ImageSettings,
    /// `[augment]`.
    pub augment: AugmentConfig,
    /// `[model]`; `classes` is set once the data are known.
    pub model: ModelSpec,
    /// Weights to start the encoder from.
    pub pretrained: Option<PathBuf>,
    /// `[train]`.
    pub train: TrainConfig,
    /// `[train.border]`: weights of the pixels between touching cells.
    pub border: Option<BorderWeights>,
    /// How many times an epoch goes through the training images, each time anew augmented and cropped.
    pub repeats: usize,
    /// `[evaluate]`.
    pub evaluate: EvaluateSettings,
    /// `[segment]`.
    pub segment: SegmentSettings,
    /// Paragraphs of the user's for the end of the report.
    pub notes: Vec<String>,
    /// Pictures in the report's grids.
    pub samples: usize,
    /// The same settings as a pipeline file, with absolute paths.
    pub resolved: String,
    /// Dotted key and value of each setting that was written down, for comparison.
    pub leaves: Vec<(String, String)>,
}

/// Where the images are and how they are dealt out.
#[derive(Clone, Debug)]
pub struct DataSettings {
    /// What to index.
    pub index: IndexConfig,
    /// How validation is drawn.
    pub policy: SplitPolicy,
    /// At most so many images of each class in each split.
    pub limit_per_class: Option<usize>,
    /// The class that the figures speak of; the last one if absent.
    pub positive: Option<String>,
    /// Named trees of masks that only judge where the class map lights up.
    pub regions: Vec<(String, PathBuf)>,
    /// Set where the data are phantoms, which are then made in [`IndexConfig::root`]'s parent.
    pub phantom: Option<Subject>,
}

/// How an image enters the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSettings {
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// How an image of another shape fills that.
    pub fit: Fit,
    /// Rows and columns of the windows that training cuts at random from larger images.
    pub crop: Option<(usize, usize)>,
    /// 1 or 3.
    pub channels: usize,
    /// Subtracted from values in [0, 1], one a channel.
    pub mean: Vec<f32>,
    /// Then divided by, one a channel.
    pub std: Vec<f32>,
    /// Memory for decoded images.
    pub cache_bytes: usize,
    /// How image files are read, and up to what size.
    pub decoder: Decoder,
}

/// How the trained network is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateSettings {
    /// How the threshold is chosen.
    pub threshold: Threshold,
    /// Resamples of the bootstrap.
    pub bootstrap: usize,
    /// Level of all intervals.
    pub confidence: f64,
    /// Whether to average over the image and its mirror image.
    pub tta: bool,
    /// Side of the small images that the linear baseline sees.
    pub baseline_size: usize,
    /// Share of a tile's side that neighbouring tiles of a large image have in common.
    pub tile_overlap: f64,
}

/// What the overlays show.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentSettings {
    /// Pixels whose class map is at least this are green.
    pub certainty: f32,
    /// Cases of each kind in the report.
    pub examples: usize,
}

impl Settings {
    /// The network for so many classes.
    ///
    /// # Errors
    /// As [`model::build::build`].
    pub fn graph(&self, classes: usize) -> Result<Graph, model::build::BuildError> {
        model::build::build(&self.spec(classes))
    }

    /// The network's description for images of so many classes.
    pub fn spec(&self, classes: usize) -> ModelSpec {
        let coding = self.data.index.masks.as_ref().map(|masks| &masks.coding);
        check::spec(&self.model, &self.train, coding, classes)
    }
}

pub(super) fn checked(
    tree: Node,
    name: String,
    request: &Request,
) -> Result<Settings, ConfigError> {
    let raw_pipeline: raw::Pipeline = table(&tree, "pipeline")?;
    let keys = Keys { tree: &tree };
    let stages = check::stages(&keys, &raw_pipeline.stages)?;
    let device = check::device(&raw_pipeline.device, raw_pipeline.precision)?;
    let paths = Paths {
        root: &request.root,
        tree: &tree,
        dry: request.dry,
    };
    let (model, extra): (ModelSpec, raw::ModelExtra) =
        split_table(&tree, "model", &["pretrained"])?;
    let (train, train_extra): (TrainConfig, raw::TrainExtra) =
        split_table(&tree, "train", &["border", "repeats"])?;
    let image: raw::Image = table(&tree, "image")?;
    let augment = table(&tree, "augment")?;
    check::augment(&keys, &augment)?;
    check::train(&keys, &train)?;
    let pretrained = paths.weights("model.pretrained", extra.pretrained.as_deref())?;
    let trained_with = check::trained_with(&keys, &model, pretrained.as_deref())?;
    let image = check::image(&keys, image, &model, trained_with.as_ref())?;
    let model = ModelSpec {
        in_channels: image.channels,
        ..model
    };
    let raw_data: raw::Data = table(&tree, "data")?;
    check::own_keys(&keys)?;
    let mut data = data(&keys, &paths, raw_data, raw_pipeline.seed, &request.runs())?;
    data.index.decoder = image.decoder;
    let masks = data.index.masks.as_ref().map(|masks| &masks.coding);
    check::task(&keys, &model, &train, &data.index, &stages)?;
    check::mask_use(&keys, masks, &train, &image, &stages)?;
    let repeats = check::repeats(&keys, train_extra.repeats)?;
    let border = check::border(&keys, train_extra.border, &train, masks)?;
    let spec = check::spec(&model, &train, masks, data.index.classes.len());
    let graph = check::model(&keys, &spec, &image)?;
    check::class_map(&keys, (&model, &graph), &train, &image, &stages)?;
    if !request.dry {
        check::memory(&keys, &graph, &image, (&train, device.device), &stages)?;
    }
    let evaluate = check::evaluate(&keys, table(&tree, "evaluate")?)?;
    let segment = check::segment(&keys, table(&tree, "segment")?)?;
    let raw::Report { notes, samples } = table(&tree, "report")?;
    check::samples(&keys, samples)?;
    let resolved = resolved(&tree, &data, pretrained.as_deref());
    Ok(Settings {
        title: if raw_pipeline.title.is_empty() {
            name.clone()
        } else {
            raw_pipeline.title
        },
        name,
        seed: raw_pipeline.seed,
        device,
        precision: raw_pipeline.precision,
        stages,
        data,
        image,
        augment,
        model,
        pretrained,
        train,
        border,
        repeats,
        evaluate,
        segment,
        notes,
        samples,
        resolved: resolved.to_document(),
        leaves: resolved.leaves(),
    })
}

fn table<T: serde::de::DeserializeOwned>(tree: &Node, name: &str) -> Result<T, ConfigError> {
    decode(tree.get(name).unwrap_or(&Node::table()), name, &[])
}

/// One table that holds two structs' keys: `own` go to the second.
fn split_table<T, U>(tree: &Node, name: &str, own: &[&str]) -> Result<(T, U), ConfigError>
where
    T: serde::de::DeserializeOwned,
    U: serde::de::DeserializeOwned,
{
    let mut foreign = tree.get(name).cloned().unwrap_or_else(Node::table);
    let mut ours = Node {
        origin: foreign.origin.clone(),
        ..Node::table()
    };
    for key in own {
        if let Some(node) = foreign.take(key) {
            ours.put(key, node);
        }
    }
    Ok((decode(&foreign, name, own)?, decode(&ours, name, &[])?))
}

fn data(
    keys: &Keys<'_>,
    paths: &Paths<'_>,
    raw: raw::Data,
    seed: u64,
    runs: &Path,
) -> Result<DataSettings, ConfigError> {
    let phantom = keys
        .tree
        .get("phantom")
        .map(|node| decode(node, "phantom", &[]))
        .transpose()?;
    let phantom_masks = phantom.as_ref().and_then(|raw: &raw::Phantom| raw.masks);
    let phantom = phantom.map(|raw| check::phantom(keys, &raw)).transpose()?;
    check::data(keys, &raw)?;
    let policy = check::policy(keys, &raw.validation, seed)?;
    check::positive(keys, raw.positive.as_deref(), &raw.classes, &raw.names)?;
    check::limit(keys, raw.limit_per_class)?;
    let Place {
        root,
        layout,
        splits,
        masks,
        regions,
    } = match &phantom {
        Some(subject) => of_phantom(runs, subject, phantom_masks, &raw),
        None => of_folder(paths, &raw)?,
    };
    let named = |name: String| raw.names.get(&name).cloned().unwrap_or(name);
    let index = IndexConfig {
        root,
        splits,
        layout,
        classes: raw.classes,
        class_names: raw.names.clone(),
        patients: raw.patients,
        masks,
        on_bad_image: raw.on_bad_image,
        aside: regions.iter().map(|(_, folder)| folder.clone()).collect(),
        decoder: Decoder::default(),
    };
    let positive = raw.positive.map(named);
    Ok(DataSettings {
        index,
        policy,
        limit_per_class: raw.limit_per_class,
        positive,
        regions,
        phantom,
    })
}

/// Where images and masks lie.
struct Place {
    root: PathBuf,
    layout: Layout,
    splits: SplitFolders,
    masks: Option<MaskConfig>,
    regions: Vec<(String, PathBuf)>,
}

fn of_folder(paths: &Paths<'_>, raw: &raw::Data) -> Result<Place, ConfigError> {
    Ok(Place {
        root: images_root(paths, raw)?,
        layout: layout(paths, raw)?,
        splits: folders(raw),
        masks: masks(paths, raw)?,
        regions: regions(paths, raw)?,
    })
}

/// A phantom is laid out as it is drawn, whatever the real data look like.
fn of_phantom(
    runs: &Path,
    subject: &Subject,
    chest_masks: Option<raw::PhantomMasks>,
    raw: &raw::Data,
) -> Place {
    let made = phantom_folder(runs, subject);
    let of_chest = |name: &str| (name.to_owned(), made.join("masks").join(name));
    let masks = |coding: MaskCoding| MaskConfig {
        coding,
        ..MaskConfig::tree(made.join("masks"))
    };
    let class_folders = |splits: SplitFolders, masks: Option<MaskConfig>| Place {
        root: made.join("images"),
        layout: Layout::ClassFolders,
        splits,
        masks,
        regions: vec![],
    };
    match subject {
        Subject::Chest(_) => {
            let tree = |which: raw::PhantomMasks| made.join("masks").join(which.folder());
            let masks = chest_masks.map(|which| MaskConfig {
                coding: raw.mask.clone(),
                ..MaskConfig::tree(tree(which))
            });
            let splits = raw.folders.clone().unwrap_or_default();
            Place {
                regions: ["lungs", "opacity"].map(of_chest).into(),
                ..class_folders(splits, masks)
            }
        }
        Subject::Cells(_) => {
            let names = ["membrane", "cell"].map(str::to_owned).into();
            let coding = MaskCoding {
                names,
                ..MaskCoding::default()
            };
            Place {
                layout: Layout::Images,
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
            .map(|class| (PixelValue(class), class as u8))
            .collect(),
        names: names.map(str::to_owned).into(),
        ..MaskCoding::default()
    }
}

fn images_root(paths: &Paths<'_>, raw: &raw::Data) -> Result<PathBuf, ConfigError> {
    let dir = paths.existing("data.dir", &raw.dir)?;
    match &raw.images {
        None => Ok(dir),
        Some(below) => paths.below(&dir, "data.images", below),
    }
}

fn layout(paths: &Paths<'_>, raw: &raw::Data) -> Result<Layout, ConfigError> {
    Ok(match (raw.layout, &raw.csv.file) {
        (raw::Layout::Csv, Some(file)) => {
            let file = paths.in_data("data.csv.file", file, &raw.dir)?;
            Layout::Csv(raw.csv.clone().layout(file))
        }
        (raw::Layout::Images, _) => Layout::Images,
        _ => Layout::ClassFolders,
    })
}

/// Kaggle's where class folders say nothing else; images alone lie in one folder.
fn folders(raw: &raw::Data) -> SplitFolders {
    raw.folders.clone().unwrap_or_else(|| match raw.layout {
        raw::Layout::Classes => SplitFolders::default(),
        raw::Layout::Images | raw::Layout::Csv => SplitFolders::none(),
    })
}

fn masks(paths: &Paths<'_>, raw: &raw::Data) -> Result<Option<MaskConfig>, ConfigError> {
    let of_csv = raw.layout == raw::Layout::Csv && raw.csv.mask.is_some();
    let place = match &raw.masks {
        None if of_csv => MaskPlace::Column,
        None => return Ok(None),
        Some(text) => mask_place(paths, text, &raw.dir)?,
    };
    Ok(Some(MaskConfig {
        coding: raw.mask.clone(),
        on_bad: raw.on_bad_mask,
        on_missing: raw.on_missing_mask,
        resize: raw.resize_masks,
        ..MaskConfig::at(place)
    }))
}

/// A tree of masks, with or without a pattern for the names in it; or a pattern alone, from the image's own folder.
fn mask_place(paths: &Paths<'_>, text: &str, dir: &str) -> Result<MaskPlace, ConfigError> {
    let tree = |root: &str, pattern: &str| {
        Ok(MaskPlace::Tree {
            root: paths.in_data("data.masks", root, dir)?,
            pattern: pattern.to_owned(),
        })
    };
    let of_tree = text.starts_with("{dir}") || Path::new(text).is_absolute();
    match text.rsplit_once('/') {
        _ if !text.contains("{stem}") => tree(text, "{stem}.png"),
        Some((root, pattern)) if of_tree => tree(root, pattern),
        _ => Ok(MaskPlace::Beside(text.to_owned())),
    }
}

fn regions(paths: &Paths<'_>, raw: &raw::Data) -> Result<Vec<(String, PathBuf)>, ConfigError> {
    let region = |(name, path): (&String, &String)| {
        let key = format!("data.regions.{name}");
        Ok((name.clone(), paths.in_data(&key, path, &raw.dir)?))
    };
    raw.regions.iter().map(region).collect()
}

/// One folder a configuration, so that runs share what they have in common.
fn phantom_folder(runs: &Path, subject: &Subject) -> PathBuf {
    let hash = crate::hash::hex(format!("{subject:?}").as_bytes());
    let runs = std::path::absolute(runs).unwrap_or_else(|_| runs.into());
    runs.join(".phantom").join(&hash[..12])
}

/// Paths in a file start at the root, paths in an option where the user stands.
struct Paths<'a> {
    root: &'a Path,
    tree: &'a Node,
    /// As [`Request::dry`].
    dry: bool,
}

impl Paths<'_> {
    /// As [`Paths::existing`]; `{dir}` at the beginning stands for the data folder, so that `--data` moves both:
    /// `{dir}/masks` lies in it, `{dir}_masks` beside it.
    fn in_data(&self, key: &str, path: &str, dir: &str) -> Result<PathBuf, ConfigError> {
        let Some(rest) = path.strip_prefix("{dir}") else {
            return self.existing(key, path);
        };
        let dir = self.existing("data.dir", dir)?;
        match rest.strip_prefix('/') {
            Some(below) => self.below(&dir, key, below),
            None => {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                self.below(dir.parent().unwrap_or(&dir), key, &format!("{name}{rest}"))
            }
        }
    }

    fn below(&self, dir: &Path, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
        // Through its components, without "." in it.
        let full: PathBuf = dir.join(path).components().collect();
        if self.dry || full.exists() {
            return Ok(full);
        }
        let node = self.tree.get(key);
        Err(ConfigError::Value {
            key: key.into(),
            origin: node.map_or_else(|| "settings".into(), |n| n.origin.to_string()),
            message: format!("nothing at {}", full.display()),
        })
    }

    /// A weights file, or the name of known weights that have been fetched. `"none"` is as if the key were absent, so
    /// that a demo or an option can take a file's weights away.
    fn weights(&self, key: &str, path: Option<&str>) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = path.filter(|path| *path != "none") else {
            return Ok(None);
        };
        let full = self.full(key, path);
        let found = if full.is_file() {
            Some(full)
        } else {
            fetched(path)
        };
        if found.is_some() || self.dry {
            return Ok(found);
        }
        self.existing(key, path).map(Some)
    }

    /// The absolute path: in a file it starts at the root, in an option where the user stands.
    fn full(&self, key: &str, path: &str) -> PathBuf {
        let from_option = self
            .tree
            .get(key)
            .is_some_and(|n| matches!(n.origin, Origin::Option(_)));
        let full = if from_option {
            PathBuf::from(path)
        } else {
            self.root.join(path)
        };
        std::path::absolute(&full).unwrap_or(full)
    }

    fn existing(&self, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
        let full = self.full(key, path);
        if !path.is_empty() && (self.dry || full.exists()) {
            return Ok(full);
        }
        let node = self.tree.get(key);
        let origin = node.map_or_else(|| "settings".into(), |n| n.origin.to_string());
        let message = match (key, path) {
            (_, "") => {
                "no folder is given: name the one that holds the images, or pass --data DIR".into()
            }
            ("data.dir", _) => format!(
                "no data folder at {}; see data/README.md for how to get the data, pass --data DIR, or --demo where phantoms are to \
                 stand in for it",
                full.display()
            ),
            ("model.pretrained", name) if hub::find(name).is_ok() => format!(
                "{name} is known, but has not been fetched: run `cargo xtask weights fetch {name}`, or set the key to \"none\" to \
                 start from random weights"
            ),
            ("model.pretrained", _) => format!(
                "no weights file at {}; set the key to \"none\" to start from random weights",
                full.display()
            ),
            _ => format!("nothing at {}", full.display()),
        };
        Err(ConfigError::Value {
            key: key.into(),
            origin,
            message,
        })
    }
}

/// Known weights of that name in the cache.
fn fetched(name: &str) -> Option<PathBuf> {
    hub::cached(hub::find(name).ok()?, &hub::default_cache())
}

fn resolved(tree: &Node, data: &DataSettings, pretrained: Option<&Path>) -> Node {
    let mut tree = tree.clone();
    let text = |path: &Path| Node {
        value: Value::Text(path.to_string_lossy().into_owned()),
        origin: Origin::Implied,
    };
    if data.phantom.is_none() {
        // The images' folder is `dir` and `images` in one.
        if tree.get("data.images").is_some() {
            tree.put("data.images", text(Path::new(".")));
        }
        tree.put("data.dir", text(&data.index.root));
        if let Some(MaskPlace::Tree { root, pattern }) = data.index.masks.as_ref().map(|m| &m.place)
        {
            let plain = pattern == "{stem}.png";
            let path = if plain {
                root.clone()
            } else {
                root.join(pattern)
            };
            tree.put("data.masks", text(&path));
        }
        if let Layout::Csv(layout) = &data.index.layout {
            tree.put("data.csv.file", text(&layout.file));
        }
        for (name, path) in &data.regions {
            tree.put(&format!("data.regions.{name}"), text(path));
        }
    }
    if let Some(path) = pretrained {
        tree.put("model.pretrained", text(path));
    }
    tree
}
