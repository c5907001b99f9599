//! TRIPOD+AI (2024), for studies that develop or evaluate prediction models: 27 items with 52 subitems.

use super::answers as run;
use super::item::{
    Answer::{Author, Both, Run},
    Checklist, Item, Section,
};

/// Collins et al., BMJ 2024;385:e078378.
pub(super) const TRIPOD_AI: Checklist = Checklist {
    title: "TRIPOD+AI: reporting of prediction models, 2024",
    source: "Collins et al., *TRIPOD+AI statement*, [BMJ 2024;385:e078378](https://doi.org/10.1136/bmj-2023-078378)",
    sections: &[
        Section {
            name: "Title, abstract, introduction",
            items: &[
                Item(
                    "1",
                    "Title",
                    "Development or evaluation of a prediction model, for whom, of what",
                    Both(run::technology),
                ),
                Item(
                    "2",
                    "Abstract",
                    "As TRIPOD+AI for Abstracts asks",
                    Both(run::results),
                ),
                Item(
                    "3a",
                    "Background",
                    "The medical question, and why a model; models that exist",
                    Author,
                ),
                Item(
                    "3b",
                    "Background",
                    "For which patients, at which point of care, by whom it is used",
                    Author,
                ),
                Item(
                    "3c",
                    "Background",
                    "Known inequalities in health between groups",
                    Author,
                ),
                Item(
                    "4",
                    "Objectives",
                    "What the study aims at: development, evaluation or both",
                    Both(run::goal),
                ),
            ],
        },
        Section {
            name: "Methods: data and participants",
            items: &[
                Item(
                    "5a",
                    "Data",
                    "Sources for development and evaluation, why these, whom they represent",
                    Both(run::source),
                ),
                Item("5b", "Data", "When the data were collected", Author),
                Item(
                    "6a",
                    "Participants",
                    "Setting, number and place of the centres",
                    Author,
                ),
                Item(
                    "6b",
                    "Participants",
                    "Who was eligible",
                    Both(run::exclusions),
                ),
                Item(
                    "6c",
                    "Participants",
                    "Treatments, and how they were taken into account",
                    Author,
                ),
                Item(
                    "7",
                    "Data preparation",
                    "Preprocessing and checks of quality, the same for all groups or not",
                    Both(run::preprocessing),
                ),
                Item(
                    "8a",
                    "Outcome",
                    "What is predicted, how and when it was determined",
                    Both(run::outcome),
                ),
                Item(
                    "8b",
                    "Outcome",
                    "Who judged it, where it takes judgement",
                    Author,
                ),
                Item(
                    "8c",
                    "Outcome",
                    "What those who judged it did not know",
                    Author,
                ),
                Item(
                    "9a",
                    "Predictors",
                    "How the inputs were chosen",
                    Both(pixels),
                ),
                Item(
                    "9b",
                    "Predictors",
                    "What each input is, how and when it was measured",
                    Author,
                ),
                Item(
                    "9c",
                    "Predictors",
                    "Who judged them, where they take judgement",
                    Author,
                ),
                Item(
                    "10",
                    "Sample size",
                    "How the size came about, and why it suffices",
                    Both(run::sample_size),
                ),
                Item(
                    "11",
                    "Missing data",
                    "What was done where data were missing or left out",
                    Both(run::missing),
                ),
            ],
        },
        Section {
            name: "Methods: analysis",
            items: &[
                Item(
                    "12a",
                    "Analysis",
                    "Which data were used for what; partitions",
                    Run(run::partitions),
                ),
                Item(
                    "12b",
                    "Analysis",
                    "How inputs were scaled or transformed",
                    Run(run::preprocessing),
                ),
                Item(
                    "12c",
                    "Analysis",
                    "The type of model, how it was built and tuned, internal validation",
                    Run(run::building),
                ),
                Item(
                    "12d",
                    "Analysis",
                    "Differences between clusters such as hospitals",
                    Author,
                ),
                Item(
                    "12e",
                    "Analysis",
                    "Measures and plots of performance; comparisons",
                    Run(run::measures),
                ),
                Item(
                    "12f",
                    "Analysis",
                    "Changes to the model after its evaluation",
                    Run(run::no_updating),
                ),
                Item(
                    "12g",
                    "Analysis",
                    "How predictions were computed for the evaluation",
                    Run(run::predicting),
                ),
                Item(
                    "13",
                    "Class imbalance",
                    "Whether and how it was treated, and recalibration after it",
                    Run(run::balance),
                ),
                Item("14", "Fairness", "What was done for it, and why", Author),
                Item(
                    "15",
                    "Output",
                    "What the model returns; classes and how thresholds were found",
                    Run(run::output),
                ),
                Item(
                    "16",
                    "Training and evaluation",
                    "How the data of both differ",
                    Both(run::characteristics),
                ),
                Item(
                    "17",
                    "Ethics",
                    "Approval and consent, or their waiver",
                    Author,
                ),
            ],
        },
        Section {
            name: "Open science, patients and public",
            items: &[
                Item("18a", "Funding", "Who paid, and what part they had", Author),
                Item(
                    "18b",
                    "Interests",
                    "Conflicts of interest of all authors",
                    Author,
                ),
                Item(
                    "18c",
                    "Protocol",
                    "Where the protocol is, or that there is none",
                    Author,
                ),
                Item(
                    "18d",
                    "Registration",
                    "Register and number, or that there is none",
                    Author,
                ),
                Item(
                    "18e",
                    "Data",
                    "Whether and where the data can be had",
                    Author,
                ),
                Item(
                    "18f",
                    "Code",
                    "Whether and where the code can be had",
                    Both(run::software),
                ),
                Item(
                    "19",
                    "Involvement",
                    "What part patients and the public had, or that they had none",
                    Author,
                ),
            ],
        },
        Section {
            name: "Results",
            items: &[
                Item(
                    "20a",
                    "Participants",
                    "Their flow, with and without the outcome",
                    Both(run::characteristics),
                ),
                Item(
                    "20b",
                    "Participants",
                    "Their characteristics, by source or setting",
                    Both(run::characteristics),
                ),
                Item(
                    "20c",
                    "Participants",
                    "How those of the evaluation compare with those of the development",
                    Both(run::characteristics),
                ),
                Item(
                    "21",
                    "Development",
                    "Numbers of participants and outcomes in each analysis",
                    Run(run::characteristics),
                ),
                Item(
                    "22",
                    "Specification",
                    "The whole model, so that others can use and evaluate it",
                    Both(run::model),
                ),
                Item(
                    "23a",
                    "Performance",
                    "Estimates with intervals, also for important groups",
                    Both(run::performance),
                ),
                Item(
                    "23b",
                    "Performance",
                    "Differences between clusters, where examined",
                    Author,
                ),
                Item(
                    "24",
                    "Updating",
                    "The updated model and its performance, where it was updated",
                    Run(run::no_updating),
                ),
            ],
        },
        Section {
            name: "Discussion",
            items: &[
                Item(
                    "25",
                    "Interpretation",
                    "What the results mean, fairness included",
                    Author,
                ),
                Item(
                    "26",
                    "Limitations",
                    "Limits of the study and what they lead to",
                    Both(run::limits),
                ),
                Item(
                    "27a",
                    "Use",
                    "What to do with poor or missing input",
                    Both(run::poor_input),
                ),
                Item("27b", "Use", "What users have to do and to know", Author),
                Item("27c", "Use", "What should be studied next", Author),
            ],
        },
    ],
};

fn pixels(_: &super::facts::Facts) -> Option<String> {
    Some("The pixels of one image; no other predictor is used.".into())
}
