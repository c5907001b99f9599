//! The figures of the results.

use anyhow::Result;
use metrics::{ClassCurves, Curves, Evaluation, Interval};
use report::{
    ConfusionHeatmap, Document, Histogram, HistogramSeries, MarkedPoint, Marker, PrCurves, PrLine,
    ReliabilityDiagram, ReliabilityLine, ReliabilityMark, RocCurves, RocLine, format,
};

use super::judge::{Judged, Metrics};
use crate::context::Context;
use crate::words::number;

pub(super) fn confusion(
    context: &Context<'_>,
    section: &mut Document,
    metrics: &Metrics,
) -> Result<()> {
    let figure = ConfusionHeatmap {
        title: format!("Test: {} images", metrics.test.n),
        classes: metrics.classes.clone(),
        counts: metrics.test.confusion.rows().map(<[u64]>::to_vec).collect(),
    };
    context.figure(
        section,
        "confusion",
        &figure.draw()?,
        "Confusion matrix of the test split",
        "",
    )
}

pub(super) fn roc(context: &Context<'_>, section: &mut Document, judged: &Judged) -> Result<()> {
    let metrics = &judged.metrics;
    let mut curves: Vec<RocLine> = judged.curves[0]
        .classes
        .iter()
        .map(|c| roc_curve(c, &name(metrics, c), &metrics.test))
        .collect();
    if let ([first], Some(binary), Some(chosen)) = (
        curves.as_mut_slice(),
        &metrics.test.binary,
        metrics.threshold,
    ) {
        let point = (binary.specificity, binary.sensitivity);
        if let (Some(specificity), Some(sensitivity)) = point {
            let label = format!("threshold {}", format::fixed(chosen.probability, 3));
            first.operating_point = Some(MarkedPoint {
                label,
                x: 1.0 - specificity.estimate,
                y: sensitivity.estimate,
            });
        }
        curves.extend(
            judged
                .linear_curves
                .classes
                .iter()
                .map(|c| roc_curve(c, "linear baseline", &metrics.baselines.linear)),
        );
    }
    let figure = RocCurves {
        title: "Test: receiver operating characteristic".into(),
        curves,
    };
    context.figure(
        section,
        "roc",
        &figure.draw()?,
        "ROC curve of the test split",
        "",
    )
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

pub(super) fn pr(context: &Context<'_>, section: &mut Document, judged: &Judged) -> Result<()> {
    let metrics = &judged.metrics;
    let mut curves: Vec<PrLine> = judged.curves[0]
        .classes
        .iter()
        .map(|c| pr_curve(metrics, c, &name(metrics, c), &metrics.test))
        .collect();
    if let ([first], Some(binary), Some(chosen)) = (
        curves.as_mut_slice(),
        &metrics.test.binary,
        metrics.threshold,
    ) {
        if let (Some(recall), Some(precision)) = (binary.sensitivity, binary.ppv) {
            let label = format!("threshold {}", format::fixed(chosen.probability, 3));
            first.operating_point = Some(MarkedPoint {
                label,
                x: recall.estimate,
                y: precision.estimate,
            });
        }
        curves.extend(
            judged
                .linear_curves
                .classes
                .iter()
                .map(|c| pr_curve(metrics, c, "linear baseline", &metrics.baselines.linear)),
        );
    }
    let figure = PrCurves {
        title: "Test: precision and recall".into(),
        curves,
    };
    context.figure(
        section,
        "pr",
        &figure.draw()?,
        "Precision-recall curve of the test split",
        "",
    )
}

fn pr_curve(metrics: &Metrics, curve: &ClassCurves, name: &str, evaluation: &Evaluation) -> PrLine {
    let ranking = evaluation.ranking.iter().find(|r| r.class == curve.class);
    let precision = ranking.and_then(|r| r.average_precision);
    let label = metrics.classes.iter().position(|c| *c == curve.class);
    let prevalence = label.map(|l| metrics.counts[2][l] as f64 / metrics.test.n.max(1) as f64);
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

fn name(metrics: &Metrics, curve: &ClassCurves) -> String {
    if metrics.classes.len() == 2 {
        format!("network ({})", curve.class)
    } else {
        curve.class.clone()
    }
}

pub(super) fn reliability(
    context: &Context<'_>,
    section: &mut Document,
    judged: &Judged,
) -> Result<()> {
    let [after, before] = &judged.curves;
    let ece = judged.metrics.calibration.test_ece;
    let figure = ReliabilityDiagram {
        title: "Test: calibration".into(),
        curves: vec![
            reliability_curve("as trained", before, &ece[0]),
            reliability_curve("calibrated", after, &ece[1]),
        ],
    };
    context.figure(
        section,
        "reliability",
        &figure.draw()?,
        "Reliability diagram of the test split",
        "",
    )
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

/// How well the probabilities separate the classes, with the threshold; for two classes only.
pub(super) fn histogram(
    context: &Context<'_>,
    section: &mut Document,
    judged: &Judged,
) -> Result<()> {
    let metrics = &judged.metrics;
    let Some(chosen) = metrics.threshold else {
        return Ok(());
    };
    let of_class = |label: usize| {
        let values = judged.probabilities[1]
            .chunks(2)
            .zip(&judged.test_labels)
            .filter(|(_, l)| **l == label);
        let values: Vec<f64> = values.map(|(p, _)| p[metrics.positive]).collect();
        HistogramSeries::from_values(&metrics.classes[label], &values, (0.0, 1.0), 25)
    };
    let positive = &metrics.classes[metrics.positive];
    let figure = Histogram {
        title: format!("Test: probability of {positive}"),
        x_label: format!("probability of {positive} (calibrated)"),
        range: (0.0, 1.0),
        series: vec![of_class(0), of_class(1)],
        as_share: true,
        markers: vec![Marker {
            at: chosen.probability,
            label: format!("threshold {}", format::fixed(chosen.probability, 3)),
        }],
    };
    context.figure(
        section,
        "probabilities",
        &figure.draw()?,
        "Histogram of probabilities on the test split",
        "",
    )
}
