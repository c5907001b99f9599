//! What the stage `report` writes: the HTML file, the model card and the checklists of a run on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::Path;

use crate::tiny::{metrics, run};
use pipeline::stages::Metrics;

const OVERLAYS: &str = "pipeline.stages=['index', 'train', 'evaluate', 'overlays', 'report']";

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_html_report_moves_the_threshold_over_the_counts_of_the_run() {
    let home = tempfile::tempdir().unwrap();
    let folder = run(home.path(), &[OVERLAYS]);
    let html = text(&folder, "report.html");
    let Metrics {
        test, threshold, ..
    } = metrics(&folder);
    let counts = test.binary.unwrap().counts;
    let chosen = threshold.unwrap().probability;
    let (tp, fp) = (counts.true_positives, counts.false_positives);
    assert!(
        html.contains(&format!("[{chosen},{tp},{fp}]")),
        "{chosen} {counts:?}"
    );
    assert!(html.contains(&format!("data-out=\"tp\">{tp}<")));
    assert!(html.contains("class=\"widget cases\"") && html.contains("data:image/jpeg;base64,"));
    // Markdown has the figure instead, and no trace of the cases.
    let markdown = text(&folder, "report.md");
    assert!(markdown.contains("![ROC curve of the test split](figures/roc.png)"));
    assert!(!markdown.contains("figures/cases"), "{markdown}");
}

#[test]
fn the_model_card_and_the_checklists_say_what_the_run_knows() {
    let home = tempfile::tempdir().unwrap();
    let folder = run(home.path(), &[]);
    let found = metrics(&folder);
    let card = text(&folder, "MODEL_CARD.md");
    assert!(card.starts_with("---\n"), "{card}");
    let accuracy = format!("{:.1} %", 100.0 * found.test.accuracy.estimate);
    for part in [
        "pipeline_tag: \"image-classification\"",
        "model-index:",
        &format!("revision: \"{}\"", found.data_fingerprint),
        "- \"phantoms\"",
        &accuracy,
        "trained and evaluated on phantoms",
        "*To be filled by the author.*",
    ] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let (claim, tripod) = (text(&folder, "CLAIM.md"), text(&folder, "TRIPOD-AI.md"));
    for part in [
        "| 44 ",
        "Neither: the images are phantoms",
        "report.md#results",
        &accuracy,
    ] {
        assert!(claim.contains(part), "{part} is not in {claim}");
    }
    // There are no overlays in this run, so that nothing explains a result.
    assert!(!claim.contains("where-the-network-looks"), "{claim}");
    assert!(
        tripod.contains("| 27c ") && tripod.contains(&accuracy),
        "{tripod}"
    );
    // Equal runs write equal cards: they contain no times and no paths of this machine.
    let again = run(home.path(), &[]);
    for name in ["MODEL_CARD.md", "CLAIM.md", "TRIPOD-AI.md"] {
        let first = text(&folder, name);
        assert_eq!(first, text(&again, name), "{name}");
        assert!(
            !first.contains(&home.path().display().to_string()),
            "{name}"
        );
    }
}
