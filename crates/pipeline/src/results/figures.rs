//! Figures of a classifier's results. Each is written to the folder's `figures` and added to a section.

use anyhow::Result;
use metrics::{ClassCurves, Curves, Evaluation, Interval};
use report::{
    ConfusionHeatmap, Document, Histogram, HistogramSeries, MarkedPoint, Marker, PrCurves, PrLine,
    ReliabilityDiagram, ReliabilityLine, ReliabilityMark, RocCurves, RocLine, format,
};

use super::Results;
use super::thresholds::thresholds;
use crate::run_dir::RunDir;
use crate::words::number;

/// The confusion matrix, as `confusion.png`.
///
/// # Errors
/// The file cannot be written, as for all figures.
pub fn confusion(folder: &RunDir, section: &mut Document, results: &Results<'_>) -> Result<()> {
    let evaluation = results.evaluation;
    let figure = ConfusionHeatmap {
        title: format!("{}: {} images", results.title, evaluation.n),
        classes: evaluation.classes.clone(),
        counts: evaluation.confusion.rows().map(<[u64]>::to_vec).collect(),
    };
    let alt = format!("Confusion matrix of {}", results.images);
    folder.figure(section, "confusion", &figure.draw()?, &alt, "")
}

/// The ROC curve with the threshold, as `roc.png`; one curve per class with more than two classes. With two, readers of
/// the HTML file can move the threshold.
///
/// # Errors
/// As [`confusion`].
pub fn roc(folder: &RunDir, section: &mut Document, results: &Results<'_>) -> Result<()> {
    let evaluation = results.evaluation;
    let mut curves: Vec<RocLine> = results.curves[1]
        .classes
        .iter()
        .map(|c| roc_curve(c, &name(results, c), evaluation))
        .collect();
    if let ([first], Some(binary), Some(threshold)) =
        (curves.as_mut_slice(), &evaluation.binary, results.threshold)
    {
        let point = (binary.specificity, binary.sensitivity);
        if let (Some(specificity), Some(sensitivity)) = point {
            first.operating_point = Some(MarkedPoint {
                label: at_threshold(threshold),
                x: 1.0 - specificity.estimate,
                y: sensitivity.estimate,
            });
        }
        if let Some((name, evaluation, other)) = results.other {
            let lines = other.classes.iter();
            curves.extend(lines.map(|c| roc_curve(c, name, evaluation)));
        }
    }
    let figure = RocCurves {
        title: format!("{}: receiver operating characteristic", results.title),
        curves,
    };
    let alt = format!("ROC curve of {}", results.images);
    let path = folder.save_figure("roc", &figure.draw()?)?;
    match thresholds(results, &figure, (&path, &alt)) {
        Some(thresholds) => section.thresholds(thresholds),
        None => section.figure(&path, &alt, ""),
    };
    Ok(())
}

fn at_threshold(threshold: f64) -> String {
    format!("threshold {}", format::fixed(threshold, 3))
}

fn roc_curve(curve: &ClassCurves, name: &str, evaluation: &Evaluation) -> RocLine {
    let auc = evaluation
        .ranking
        .iter()
        .find(|r| r.class == curve.class)
        .and_then(|r| r.auc);
    RocLine {
        name: name.into(),
        points: curve
            .roc
            .fpr
            .iter()
            .copied()
            .zip(curve.roc.tpr.iter().copied())
            .collect(),
        auc: auc.map(|a| a.estimate),
        interval: auc.map(|a| (a.low, a.high)),
        operating_point: None,
    }
}

/// The precision-recall curve with the threshold, as `pr.png`; one curve per class with more than two classes.
///
/// # Errors
/// As [`confusion`].
pub fn precision_recall(
    folder: &RunDir,
    section: &mut Document,
    results: &Results<'_>,
) -> Result<()> {
    let evaluation = results.evaluation;
    let mut curves: Vec<PrLine> = results.curves[1]
        .classes
        .iter()
        .map(|c| pr_curve(results, c, &name(results, c), evaluation))
        .collect();
    if let ([first], Some(binary), Some(threshold)) =
        (curves.as_mut_slice(), &evaluation.binary, results.threshold)
    {
        if let (Some(recall), Some(precision)) = (binary.sensitivity, binary.ppv) {
            first.operating_point = Some(MarkedPoint {
                label: at_threshold(threshold),
                x: recall.estimate,
                y: precision.estimate,
            });
        }
        if let Some((name, evaluation, other)) = results.other {
            let lines = other.classes.iter();
            curves.extend(lines.map(|c| pr_curve(results, c, name, evaluation)));
        }
    }
    let figure = PrCurves {
        title: format!("{}: precision and recall", results.title),
        curves,
    };
    let alt = format!("Precision-recall curve of {}", results.images);
    folder.figure(section, "pr", &figure.draw()?, &alt, "")
}

fn pr_curve(
    results: &Results<'_>,
    curve: &ClassCurves,
    name: &str,
    evaluation: &Evaluation,
) -> PrLine {
    let ranking = evaluation.ranking.iter().find(|r| r.class == curve.class);
    let precision = ranking.and_then(|r| r.average_precision);
    let label = results.classes().iter().position(|c| *c == curve.class);
    let of_class = |l: usize| results.labels.iter().filter(|label| **label == l).count();
    let prevalence = label.map(|l| of_class(l) as f64 / results.labels.len().max(1) as f64);
    PrLine {
        name: name.into(),
        points: curve
            .pr
            .recall
            .iter()
            .copied()
            .zip(curve.pr.precision.iter().copied())
            .collect(),
        average_precision: precision.map(|p| p.estimate),
        interval: precision.map(|p| (p.low, p.high)),
        prevalence,
        operating_point: None,
    }
}

fn name(results: &Results<'_>, curve: &ClassCurves) -> String {
    match results.classes().len() {
        2 => format!("{} ({})", results.classifier, curve.class),
        _ => curve.class.clone(),
    }
}

/// The reliability diagram, as `reliability.png`.
///
/// # Errors
/// As [`confusion`].
pub fn reliability(folder: &RunDir, section: &mut Document, results: &Results<'_>) -> Result<()> {
    let [before, after] = results.curves;
    let error = &results.calibration_error;
    let figure = ReliabilityDiagram {
        title: format!("{}: calibration", results.title),
        curves: vec![
            reliability_curve("as trained", before, &error[0]),
            reliability_curve("calibrated", after, &error[1]),
        ],
    };
    let alt = format!("Reliability diagram of {}", results.images);
    folder.figure(section, "reliability", &figure.draw()?, &alt, "")
}

fn reliability_curve(name: &str, curves: &Curves, ece: &Interval) -> ReliabilityLine {
    let bin = |bin: &metrics::ReliabilityBin| {
        let positives = (bin.positive_share * bin.n as f64).round() as u64;
        let interval = metrics::wilson(positives, bin.n as u64, 0.95).ok();
        ReliabilityMark {
            bounds: (bin.low, bin.high),
            predicted: bin.mean_probability,
            observed: bin.positive_share,
            interval: interval.map(|i| (i.low, i.high)),
            count: bin.n as u64,
        }
    };
    ReliabilityLine {
        name: name.into(),
        bins: curves.reliability.iter().map(bin).collect(),
        note: format!("ECE {}", number(ece)),
    }
}

/// How well the probabilities separate two classes, with the threshold, as `probabilities.png`; nothing without a
/// threshold.
///
/// # Errors
/// As [`confusion`].
pub fn probabilities(folder: &RunDir, section: &mut Document, results: &Results<'_>) -> Result<()> {
    let Some(threshold) = results.threshold else {
        return Ok(());
    };
    let (classes, positive) = (results.classes(), results.positive());
    let of_class = |label: usize| {
        let values = results.probabilities.chunks(2).zip(results.labels);
        let values = values.filter(|(_, l)| **l == label);
        let values: Vec<f64> = values.map(|(p, _)| p[positive]).collect();
        HistogramSeries::from_values(&classes[label], &values, (0.0, 1.0), 25)
    };
    let name = &classes[positive];
    let figure = Histogram {
        title: format!("{}: probability of {name}", results.title),
        x_label: format!("probability of {name} (calibrated)"),
        range: (0.0, 1.0),
        series: vec![of_class(0), of_class(1)],
        as_share: true,
        markers: vec![Marker {
            at: threshold,
            label: at_threshold(threshold),
        }],
    };
    let alt = format!("Histogram of probabilities on {}", results.images);
    folder.figure(section, "probabilities", &figure.draw()?, &alt, "")
}
