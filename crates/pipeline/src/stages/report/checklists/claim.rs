//! The Checklist for Artificial Intelligence in Medical Imaging (CLAIM), 2024 update: 44 items.

use super::answers as run;
use super::item::{
    Answer::{Author, Both, Run},
    Checklist, Item, Section,
};

/// Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300.
pub(super) const CLAIM: Checklist = Checklist {
    title: "CLAIM: checklist for artificial intelligence in medical imaging, 2024 update",
    source: "Tejani et al., *Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update*, \
             [Radiology: Artificial Intelligence 2024;6(4):e240300](https://doi.org/10.1148/ryai.240300)",
    sections: &[
        Section {
            name: "Title, abstract, introduction",
            items: &[
                Item(
                    "1",
                    "Title or abstract",
                    "Say that the study is about AI, and which kind",
                    Both(run::technology),
                ),
                Item(
                    "2",
                    "Abstract",
                    "Design, methods, results and conclusions in short",
                    Both(run::results),
                ),
                Item(
                    "3",
                    "Background",
                    "Scientific or clinical background; what the model is for",
                    Author,
                ),
                Item(
                    "4",
                    "Objectives",
                    "Aims and, where there are any, hypotheses",
                    Author,
                ),
            ],
        },
        Section {
            name: "Methods: study design and data",
            items: &[
                Item(
                    "5",
                    "Design",
                    "Whether data were collected for the study or existed before",
                    Run(run::design),
                ),
                Item("6", "Goal", "What the study is to achieve", Both(run::goal)),
                Item(
                    "7",
                    "Data sources",
                    "Where the data come from",
                    Both(run::source),
                ),
                Item(
                    "8",
                    "Inclusion, exclusion",
                    "Which patients and images were taken, which not",
                    Both(run::exclusions),
                ),
                Item(
                    "9",
                    "Preprocessing",
                    "What happens to an image before the model sees it",
                    Run(run::preprocessing),
                ),
                Item(
                    "10",
                    "Subsets",
                    "How parts of data or images were selected",
                    Both(run::subsets),
                ),
                Item(
                    "11",
                    "De-identification",
                    "How data were made anonymous",
                    Both(run::identifiers),
                ),
                Item(
                    "12",
                    "Missing data",
                    "What was done where data were missing",
                    Both(run::missing),
                ),
                Item(
                    "13",
                    "Acquisition",
                    "How the images were taken: devices, protocols",
                    Author,
                ),
            ],
        },
        Section {
            name: "Methods: reference standard",
            items: &[
                Item(
                    "14",
                    "Definition",
                    "How the truth of each image was determined",
                    Both(run::outcome),
                ),
                Item("15", "Rationale", "Why in this way", Author),
                Item(
                    "16",
                    "Annotators",
                    "Who or what provided the labels, with which qualification",
                    Author,
                ),
                Item(
                    "17",
                    "Test set",
                    "How the test images were labelled",
                    Author,
                ),
                Item(
                    "18",
                    "Agreement",
                    "How far annotators agree, with each other and themselves",
                    Author,
                ),
            ],
        },
        Section {
            name: "Methods: partitions and testing data",
            items: &[
                Item(
                    "19",
                    "Assignment",
                    "How images were assigned to training, validation and test",
                    Run(run::partitions),
                ),
                Item(
                    "20",
                    "Disjointness",
                    "What two partitions never share: images, patients, sites",
                    Run(run::disjoint),
                ),
                Item(
                    "21",
                    "Sample size",
                    "The intended size of the test set, and why",
                    Both(run::sample_size),
                ),
            ],
        },
        Section {
            name: "Methods: model and training",
            items: &[
                Item(
                    "22",
                    "Model",
                    "The model in detail, from input to output",
                    Run(run::model),
                ),
                Item(
                    "23",
                    "Software",
                    "Programs and libraries with versions",
                    Run(run::software),
                ),
                Item(
                    "24",
                    "Initial weights",
                    "Where the parameters start from",
                    Run(run::initial),
                ),
                Item(
                    "25",
                    "Training",
                    "Augmentation, optimization, settings",
                    Run(run::training),
                ),
                Item(
                    "26",
                    "Final model",
                    "How the final model was selected",
                    Run(run::selection),
                ),
                Item(
                    "27",
                    "Ensembles",
                    "How models were combined, if they were",
                    Run(run::ensemble),
                ),
            ],
        },
        Section {
            name: "Methods: evaluation",
            items: &[
                Item(
                    "28",
                    "Metrics",
                    "What performance is measured by",
                    Run(run::measures),
                ),
                Item(
                    "29",
                    "Uncertainty",
                    "Intervals, tests, levels",
                    Run(run::uncertainty),
                ),
                Item(
                    "30",
                    "Robustness",
                    "How results change with conditions or assumptions",
                    Run(run::robustness),
                ),
                Item(
                    "31",
                    "Explanation",
                    "Methods that show what a result rests on",
                    Run(run::explanation),
                ),
                Item(
                    "32",
                    "Internal data",
                    "Evaluation on data of the same origin",
                    Run(run::detailed),
                ),
                Item(
                    "33",
                    "External data",
                    "Testing on data of another origin",
                    Both(run::external),
                ),
                Item(
                    "34",
                    "Registration",
                    "Registration, where the study is a clinical trial",
                    Author,
                ),
            ],
        },
        Section {
            name: "Results",
            items: &[
                Item(
                    "35",
                    "Flow",
                    "Numbers of patients or examinations included and excluded",
                    Both(run::exclusions),
                ),
                Item(
                    "36",
                    "Characteristics",
                    "Demographic and clinical facts of each partition",
                    Both(run::characteristics),
                ),
                Item(
                    "37",
                    "Performance",
                    "The metrics with their uncertainty",
                    Run(run::performance),
                ),
                Item(
                    "38",
                    "Diagnostic performance",
                    "Estimates such as sensitivity, and their precision",
                    Run(run::detailed),
                ),
                Item(
                    "39",
                    "Failures",
                    "What went wrong in wrong results",
                    Both(run::failures),
                ),
            ],
        },
        Section {
            name: "Discussion and other information",
            items: &[
                Item(
                    "40",
                    "Limitations",
                    "What limits the study",
                    Both(run::limits),
                ),
                Item(
                    "41",
                    "Implications",
                    "What follows for practice; the intended use and role",
                    Author,
                ),
                Item(
                    "42",
                    "Protocol",
                    "Where the protocol or further technical details are",
                    Both(run::protocol),
                ),
                Item(
                    "43",
                    "Availability",
                    "Whether program, model and data can be had, and where",
                    Both(run::availability),
                ),
                Item("44", "Funding", "Who paid, and what part they had", Author),
            ],
        },
    ],
};
