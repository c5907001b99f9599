//! The stages of a pipeline as data: what each is called, reads and writes. What they do is in the crate `pipeline`.

use std::fmt;

/// What stages pass on to later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// `manifest.csv`: the images.
    Manifest,
    /// `splits.csv`: which image is in which split.
    Splits,
    /// `regions.json`: the part of each image that the network sees, where it does not see all of it.
    Regions,
    /// `eda.json`: the exploratory analysis.
    Eda,
    /// `figures/augmented.png`.
    AugmentPreview,
    /// `model.safetensors`: the best epoch's checkpoint.
    Model,
    /// `history.csv`: one line per epoch.
    History,
    /// `predictions.csv`: validation and test, image by image.
    Predictions,
    /// `metrics.json`: the results.
    Metrics,
    /// How scores become a prediction: threshold and calibration, written into `model.safetensors`.
    Decision,
    /// What inference in int8 needs, written into `model.safetensors`, and `quantization.json`.
    Quantization,
    /// What detects images unlike the training images, written into `model.safetensors`.
    Novelty,
    /// `stress` in `metrics.json`: the results under changes of growing strength.
    Stress,
    /// `probe` in `metrics.json`: what predicts the class besides the finding.
    Probe,
    /// `explained` in `metrics.json`: which pixels the class scores are based on.
    Explanations,
    /// `overlays.json` and `overlays/`: where the class map is high.
    Overlays,
    /// `segmentation.json`, `segmentation.csv` and `masks/`: how well the map agrees with the masks.
    Segmentation,
    /// `report.md`, `report.html`, `MODEL_CARD.md`, `CLAIM.md` and `TRIPOD-AI.md`.
    Report,
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Artifact::Manifest => "manifest.csv",
            Artifact::Splits => "splits.csv",
            Artifact::Regions => "regions.json",
            Artifact::Eda => "eda.json",
            Artifact::AugmentPreview => "the augmentation preview",
            Artifact::Model => "model.safetensors",
            Artifact::History => "history.csv",
            Artifact::Predictions => "predictions.csv",
            Artifact::Metrics => "metrics.json",
            Artifact::Decision => "the decision rule in model.safetensors",
            Artifact::Quantization => "quantization.json",
            Artifact::Novelty => "the novelty score in model.safetensors",
            Artifact::Stress => "the results under stress",
            Artifact::Probe => "the probes",
            Artifact::Explanations => "the explanations",
            Artifact::Overlays => "the overlays",
            Artifact::Segmentation => "segmentation.json",
            Artifact::Report => "report.md",
        })
    }
}

/// A step of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageId {
    /// Reads the data set.
    Index,
    /// Finds the part of each image that the network sees.
    Region,
    /// Explores it.
    Eda,
    /// Draws augmented images.
    AugmentPreview,
    /// Trains the network.
    Train,
    /// Evaluates the classifier.
    Evaluate,
    /// Evaluates the segmenter.
    EvaluateSegmentation,
    /// Prepares inference in int8, if little is lost by it.
    Quantize,
    /// Detects images unlike the training images.
    Novelty,
    /// Evaluates under changes of growing strength.
    Stress,
    /// Looks for shortcuts.
    Probe,
    /// Shows which pixels the class scores are based on.
    Explain,
    /// Draws the class map.
    Overlays,
    /// Writes the report.
    Report,
}

/// The properties of a stage.
struct Row {
    name: &'static str,
    about: &'static str,
    reads: &'static [Artifact],
    writes: &'static [Artifact],
}

impl StageId {
    /// All stages in their usual order.
    pub const ALL: [StageId; 14] = [
        StageId::Index,
        StageId::Region,
        StageId::Eda,
        StageId::AugmentPreview,
        StageId::Train,
        StageId::Evaluate,
        StageId::EvaluateSegmentation,
        StageId::Quantize,
        StageId::Novelty,
        StageId::Stress,
        StageId::Probe,
        StageId::Explain,
        StageId::Overlays,
        StageId::Report,
    ];

    /// The stage with this name.
    pub fn find(name: &str) -> Option<StageId> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Name in `pipeline.stages`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// One line for lists.
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// Artifacts that earlier stages must have made.
    pub fn reads(self) -> &'static [Artifact] {
        self.row().reads
    }

    /// Artifacts that it makes.
    pub fn writes(self) -> &'static [Artifact] {
        self.row().writes
    }

    /// Whether it makes an artifact.
    pub fn makes(self, artifact: Artifact) -> bool {
        self.writes().contains(&artifact)
    }

    fn row(self) -> Row {
        use Artifact as A;
        match self {
            StageId::Index => Row {
                name: "index",
                about: "reads the images, their classes and patients, and divides them into splits",
                reads: &[],
                writes: &[A::Manifest, A::Splits],
            },
            StageId::Region => Row {
                name: "region",
                about: "finds the part of each image that the network sees (image.region), with a trained segmenter",
                reads: &[A::Manifest, A::Splits],
                writes: &[A::Regions],
            },
            StageId::Eda => Row {
                name: "eda",
                about: "counts, sizes, intensities, duplicates, and patients in more than one split",
                reads: &[A::Manifest, A::Splits],
                writes: &[A::Eda],
            },
            StageId::AugmentPreview => Row {
                name: "augment-preview",
                about: "draws augmented variants of a few training images",
                reads: &[A::Manifest, A::Splits],
                writes: &[A::AugmentPreview],
            },
            StageId::Train => Row {
                name: "train",
                about: "trains the network, keeps the best epoch, and can be resumed",
                reads: &[A::Manifest, A::Splits],
                writes: &[A::Model, A::History],
            },
            StageId::Evaluate => Row {
                name: "evaluate",
                about: "chooses threshold and calibration on validation, evaluates on test, next to the baselines",
                reads: &[A::Manifest, A::Splits, A::Model],
                writes: &[A::Predictions, A::Metrics, A::Decision],
            },
            StageId::EvaluateSegmentation => Row {
                name: "evaluate-segmentation",
                about: "evaluates the map against masks of the test images: Dice, IoU, Hausdorff distance, best and worst cases",
                reads: &[A::Manifest, A::Splits, A::Model],
                writes: &[A::Segmentation],
            },
            StageId::Quantize => Row {
                name: "quantize",
                about: "prepares inference in int8, and stores it in the checkpoint if little enough is lost",
                reads: &[A::Manifest, A::Splits, A::Model],
                writes: &[A::Quantization],
            },
            StageId::Novelty => Row {
                name: "novelty",
                about: "fits a score that detects images unlike the training images, and tries it on images of other kinds",
                reads: &[A::Manifest, A::Splits, A::Model, A::Metrics, A::Decision],
                writes: &[A::Novelty],
            },
            StageId::Stress => Row {
                name: "stress",
                about: "evaluates test images under exposure, noise, blur, compression and more, at five strengths each",
                reads: &[A::Manifest, A::Splits, A::Model, A::Metrics, A::Decision],
                writes: &[A::Stress],
            },
            StageId::Probe => Row {
                name: "probe",
                about: "looks for shortcuts: what predicts the class besides the finding, and what the network needs",
                reads: &[A::Manifest, A::Splits, A::Model, A::Metrics, A::Decision],
                writes: &[A::Probe],
            },
            StageId::Explain => Row {
                name: "explain",
                about: "shows which pixels the class scores are based on, by several methods, and judges the methods",
                reads: &[A::Manifest, A::Splits, A::Model, A::Metrics, A::Decision],
                writes: &[A::Explanations],
            },
            StageId::Overlays => Row {
                name: "overlays",
                about: "colours confident pixels of the class map green, for correct and incorrect predictions",
                reads: &[A::Manifest, A::Splits, A::Model, A::Metrics, A::Decision],
                writes: &[A::Overlays],
            },
            StageId::Report => Row {
                name: "report",
                about: "combines all sections into report.md and report.html; model card and checklists",
                reads: &[A::Manifest],
                writes: &[A::Report],
            },
        }
    }
}
