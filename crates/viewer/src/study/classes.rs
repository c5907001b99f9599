//! The classes of a run's images, and how a probability becomes one of them.

use metrics::ConformalSets;
use report::{OperatingPoint, ThresholdCurve, Thresholds};

use super::{Case, Study};

/// The classes of images.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    pub(crate) positive: usize,
    /// `None` if the most probable class is predicted.
    pub(crate) threshold: Option<Threshold>,
    pub(crate) sets: Option<ConformalSets>,
}

/// The run's threshold on the probability of the positive class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) probability: f64,
    /// Where another sample of validation images might have put it.
    pub(crate) interval: Option<[f64; 2]>,
}

/// Half the width of what is near a threshold, where no interval is known.
const NEAR: f64 = 0.05;

impl Classes {
    /// The class that is not the positive one, of two.
    pub(crate) fn negative(&self) -> Option<usize> {
        match self.names.len() {
            2 => Some(1 - self.positive),
            _ => None,
        }
    }

    /// The threshold in use: the one that a reader has chosen, or the run's.
    pub(crate) fn threshold(&self, chosen: Option<f64>) -> Option<Threshold> {
        let own = self.threshold?;
        Some(chosen.map_or(own, |probability| Threshold {
            probability,
            interval: None,
        }))
    }

    /// The predicted class of a case at the threshold in use.
    pub(crate) fn predicted(&self, case: &Case, chosen: Option<f64>) -> Option<usize> {
        match (
            chosen,
            self.negative(),
            case.probabilities.get(self.positive),
        ) {
            (Some(threshold), Some(negative), Some(p)) => Some(match *p >= threshold {
                true => self.positive,
                false => negative,
            }),
            _ => case.predicted,
        }
    }

    /// The names of the classes in the set of a case.
    pub(crate) fn set(&self, case: &Case) -> Option<(f64, Vec<&str>)> {
        let sets = self.sets.as_ref()?;
        let set = sets.set(&case.probabilities).into_iter();
        let names = set.filter_map(|class| self.names.get(class));
        Some((sets.coverage, names.map(String::as_str).collect()))
    }

    /// The probability of the positive class, of two; otherwise that of the predicted one.
    pub(crate) fn leading(&self, case: &Case) -> f64 {
        let class = match self.negative() {
            Some(_) => Some(self.positive),
            None => case.predicted,
        };
        let p = class.and_then(|class| case.probabilities.get(class));
        p.copied().unwrap_or(0.0)
    }
}

impl Threshold {
    /// The probabilities that are near it.
    pub(crate) fn near(&self) -> [f64; 2] {
        self.interval
            .unwrap_or([self.probability - NEAR, self.probability + NEAR])
    }

    pub(crate) fn is_near(&self, probability: f64) -> bool {
        let [low, high] = self.near();
        (low..=high).contains(&probability)
    }
}

impl Study {
    /// The ROC curve with all thresholds; `None` unless there are two classes, both with images, and a threshold.
    pub(crate) fn thresholds(&self) -> Option<Thresholds> {
        let classes = self.classes.as_ref()?;
        let (used, negative) = (classes.threshold?, classes.negative()?);
        let judged: Vec<(f64, bool, bool)> = self
            .cases
            .iter()
            .filter_map(|case| {
                let p = *case.probabilities.get(classes.positive)?;
                let positive = case.truth? == classes.positive;
                Some((p, positive, case.predicted? == classes.positive))
            })
            .collect();
        let count = |keep: fn(&(f64, bool, bool)) -> bool| {
            judged.iter().filter(|case| keep(case)).count() as u64
        };
        let (positives, negatives) = (count(|c| c.1), count(|c| !c.1));
        if positives == 0 || negatives == 0 {
            return None;
        }
        let used = OperatingPoint {
            threshold: used.probability,
            true_positives: count(|c| c.1 && c.2),
            false_positives: count(|c| !c.1 && c.2),
        };
        let cases = judged.iter().map(|(p, positive, _)| (*p, *positive));
        let (points, chosen) = pipeline::results::operating_points(cases.collect(), used);
        let rate = |point: &OperatingPoint| {
            let false_positives = point.false_positives as f64 / negatives as f64;
            (
                false_positives,
                point.true_positives as f64 / positives as f64,
            )
        };
        let curve = points.iter().rev().map(rate);
        let name = |class: usize| classes.names[class].clone();
        Some(Thresholds {
            path: String::new(),
            alt: format!("ROC curve of the test images of {}", self.title),
            positive: name(classes.positive),
            negative: name(negative),
            positives,
            negatives,
            curves: vec![ThresholdCurve {
                name: "network".into(),
                detail: String::new(),
                points: [(0.0, 0.0)].into_iter().chain(curve).collect(),
            }],
            points,
            chosen,
        })
    }
}
