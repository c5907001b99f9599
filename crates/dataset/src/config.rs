//! Configuration of a data folder's layout.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use imaging::Decoder;

use crate::mask::MaskConfig;
use crate::split_name::Split;

/// The folder of each split below the root; a split that is `None` has no folder. With all three
/// `None` the class folders are directly below the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFolders {
    /// Folder of the training images.
    #[serde(default)]
    pub train: Option<String>,
    /// Folder of the validation images.
    #[serde(default)]
    pub val: Option<String>,
    /// Folder of the test images.
    #[serde(default)]
    pub test: Option<String>,
}

impl Default for SplitFolders {
    /// Kaggle's `train`, `val`, `test`.
    fn default() -> Self {
        Self::new(Some("train"), Some("val"), Some("test"))
    }
}

impl SplitFolders {
    /// The three folder names, `None` if there is no such folder.
    pub fn new(train: Option<&str>, val: Option<&str>, test: Option<&str>) -> Self {
        let own = |name: Option<&str>| name.map(str::to_owned);
        Self {
            train: own(train),
            val: own(val),
            test: own(test),
        }
    }

    /// Class folders directly below the root.
    pub fn none() -> Self {
        Self::new(None, None, None)
    }

    /// The splits that have a folder, with its name.
    pub fn named(&self) -> impl Iterator<Item = (Split, &str)> {
        let folders = [&self.train, &self.val, &self.test];
        Split::ALL
            .into_iter()
            .zip(folders)
            .filter_map(|(split, folder)| Some((split, folder.as_deref()?)))
    }
}

/// What to do with a file that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// Leave it out and report it.
    #[default]
    Skip,
    /// Stop with an error that names it.
    Fail,
}

/// How a patient is derived from an image's name; the first rule that matches decides.
///
/// `pattern` is searched for in the file name without its extension and, if no rule matches there, in
/// the names of the enclosing folders, innermost first, except those of split and class. A pattern
/// that contains a `/` is searched for in the whole path below the data folder instead. The key is
/// `template` with `${group}` replaced ([`regex::Captures::expand`]), or without a template the named
/// groups that matched, joined by `-`; `prefix` is prepended, so that numbers of two rules cannot
/// collide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatientRule {
    /// Regular expression.
    pub pattern: String,
    /// Key with `${group}` references; empty: the named groups joined by `-`.
    #[serde(default)]
    pub template: String,
    /// Prepended to the key.
    #[serde(default)]
    pub prefix: String,
}

impl PatientRule {
    /// The rules of Kaggle's "Chest X-Ray Images (Pneumonia)": a patient is (type, number), since
    /// `person80_bacteria_…` and `person80_virus_…` are numbered separately, or the IM number, with
    /// and without `NORMAL2` counted separately.
    pub fn kaggle_pneumonia() -> Vec<Self> {
        let rule = |pattern: &str, template: &str| Self {
            pattern: pattern.to_owned(),
            template: template.to_owned(),
            prefix: String::new(),
        };
        vec![
            rule(
                r"^person(?<number>\d+)_(?<kind>bacteria|virus)",
                "${kind}-${number}",
            ),
            rule(
                r"^(?<series>NORMAL2-)?IM-(?<number>\d+)",
                "${series}IM-${number}",
            ),
        ]
    }
}

/// How images and classes are laid out below the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "there is one per data set")]
#[serde(rename_all = "snake_case")]
pub enum DataLayout {
    /// One folder per class, below the split folders if there are any.
    #[default]
    ClassFolders,
    /// Images without classes, as for pure segmentation, below the split folders if there are any:
    /// all are of one class, named by [`IndexConfig::classes`] or `image`.
    Images,
    /// A table that lists every image.
    Csv(CsvLayout),
}

/// A CSV file with a header and one row per image.
///
/// A column that is `None` has its usual name and may be absent, except `path`; one that is named
/// must exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvLayout {
    /// The file.
    pub file: PathBuf,
    /// Column of the image's path below the root; `path`.
    pub path: Option<String>,
    /// Column of the mask's path below the root, empty if there is none; `mask`.
    pub mask: Option<String>,
    /// Column of the class; `class`. Without it all images are of one class.
    pub class: Option<String>,
    /// Column of the split: train, val (or valid, validation), test, or empty; `split`.
    pub split: Option<String>,
    /// Column of the patient; `patient`. Empty: the patient rules decide.
    pub patient: Option<String>,
    /// Further columns that are kept in the manifest, such as the age, the view or the hospital.
    pub attributes: Vec<String>,
    /// What labels mean, if they are not simply the classes.
    pub labels: Box<LabelConfig>,
}

/// How the class of an image follows from several labels, of which a network of exclusive classes can have one.
///
/// A label is positive, negative, uncertain (−1) or not known (an empty cell, NaN). A row has the classes of its positive
/// labels; it is left out, and counted, if they are several without an order of precedence, if there are none, or if
/// labels that are uncertain or not known could change the class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelConfig {
    /// Columns of one label each, with 1, 0, −1 or nothing, as in CheXpert; they replace the class column.
    pub columns: Vec<String>,
    /// What separates the labels in the class column, such as `|` in NIH's ChestX-ray14; `None`: there is one.
    pub separator: Option<String>,
    /// The class of each label; empty: each label is the class of its name.
    pub classes: BTreeMap<String, String>,
    /// Classes in the order in which they precede others in a row of several.
    pub precedence: Vec<String>,
    /// The class of a row without a positive label that has a class; `None`: it is left out.
    pub otherwise: Option<String>,
    /// What −1 in a label's column counts as.
    pub uncertain: Uncertain,
    /// What an empty cell counts as.
    pub blank: Blank,
}

impl LabelConfig {
    /// Whether labels are other than the class column's own text.
    pub fn is_used(&self) -> bool {
        *self != Self::default()
    }
}

/// What an uncertain label counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncertain {
    /// Not known: a row whose class it could change is left out.
    #[default]
    LeaveOut,
    /// Present.
    Positive,
    /// Absent.
    Negative,
}

/// What a label that is not mentioned counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blank {
    /// Not known: a row without a positive label is left out.
    #[default]
    LeaveOut,
    /// Absent.
    Negative,
}

/// What to index and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexConfig {
    /// The data folder.
    pub root: PathBuf,
    /// How images and classes are laid out.
    #[serde(default)]
    pub layout: DataLayout,
    /// Which folder holds which split; not used with a CSV.
    #[serde(default)]
    pub splits: SplitFolders,
    /// The class folders in the order of their labels; empty: all folders found, by name.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Name of a class, if it differs from its folder's name.
    #[serde(default)]
    pub class_names: BTreeMap<String, String>,
    /// How a patient is derived from a path; empty: every image is its own patient.
    #[serde(default)]
    pub patients: Vec<PatientRule>,
    /// Masks of the images; an image may lack one.
    #[serde(default)]
    pub masks: Option<MaskConfig>,
    /// Whether a class may lack a folder or images, in a split or altogether, and one class suffices: for images that a
    /// network is only evaluated on. Entries of `class_names` for folders that do not exist are then ignored.
    #[serde(default)]
    pub incomplete: bool,
    /// What to do with a file that cannot be decoded.
    #[serde(default)]
    pub on_bad_image: OnBadImage,
    /// Folders below the root that hold no samples, such as masks used only for evaluation.
    #[serde(default)]
    pub aside: Vec<PathBuf>,
    /// How image files are read.
    #[serde(default)]
    pub decoder: Decoder,
    /// Folder that keeps what was learned about each file, so that the next index opens only files that have changed;
    /// `None`: nothing is kept. No result depends on it.
    #[serde(default)]
    pub cache: Option<PathBuf>,
}
