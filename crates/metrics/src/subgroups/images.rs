//! The figures of groups of images.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::delong::{auc_variance, delong_auc, placements};
use crate::error::Result;
use crate::evaluation::{CheckedPredictions, EvaluationSettings, Predictions};
use crate::interval::Interval;
use crate::normal::two_sided_p;
use crate::proportion::proportion;
use crate::student::t_quantile;

use super::comparison::{self, Contributions, Stratum};
use super::{
    DifferenceTest, Grouping, LEAST_SUBGROUP_PATIENTS, Subgroup, SubgroupFigure, SubgroupGrouping,
    SubgroupMetric, SubgroupTest, Untested,
};

/// All images, with what the figures are computed from.
pub(super) struct Images {
    classes: usize,
    labels: Vec<usize>,
    /// Whether each image is of the positive class; all `false` with more than two classes.
    positive: Vec<bool>,
    /// The log-odds of the positive class; empty with more than two classes.
    scores: Vec<f64>,
    /// 1 for each image that is predicted correctly, otherwise 0.
    right: Vec<f64>,
    brier: Vec<f64>,
    patients: Vec<usize>,
    level: f64,
}

impl Images {
    pub(super) fn new<S: AsRef<str>>(
        predictions: &Predictions<'_, S>,
        settings: &EvaluationSettings,
    ) -> Result<Self> {
        check::level(settings.level)?;
        let checked = CheckedPredictions::new(predictions, settings)?;
        let n = checked.labels.len();
        let decided = checked.labels.iter().zip(&checked.decisions);
        let (positive, scores) = match predictions.class_names.len() {
            2 => checked.one_vs_rest(settings.positive),
            _ => (vec![false; n], vec![]),
        };
        Ok(Self {
            classes: predictions.class_names.len(),
            labels: checked.labels.to_vec(),
            positive,
            scores,
            right: decided.map(|(l, d)| f64::from(u8::from(l == d))).collect(),
            brier: checked.brier_terms()?,
            patients: checked
                .groups
                .map_or_else(|| (0..n).collect(), <[usize]>::to_vec),
            level: settings.level,
        })
    }

    /// The figures of each group; the grouping has one entry per image.
    pub(super) fn grouping<S: AsRef<str>>(&self, grouping: &Grouping<'_, S>) -> SubgroupGrouping {
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, group) in grouping.groups.iter().enumerate() {
            if let Some(group) = group {
                members.entry(group.as_ref()).or_default().push(i);
            }
        }
        let known: usize = members.values().map(Vec::len).sum();
        let groups = members.iter().map(|(name, group)| {
            let others = members.iter().filter(|(other, _)| *other != name);
            let mut rest: Vec<usize> = others.flat_map(|(_, images)| images).copied().collect();
            rest.sort_unstable();
            self.group(name, group, &rest)
        });
        SubgroupGrouping {
            name: grouping.name.to_owned(),
            unknown: grouping.groups.len() - known,
            groups: groups.collect(),
        }
    }

    fn group(&self, name: &str, group: &[usize], rest: &[usize]) -> Subgroup {
        let mut by_class = vec![0; self.classes];
        group.iter().for_each(|i| by_class[self.labels[*i]] += 1);
        let metrics = self.metrics().iter();
        Subgroup {
            name: name.to_owned(),
            n: group.len(),
            patients: self.count_patients(group),
            by_class,
            figures: metrics.map(|m| self.figure(*m, group, rest)).collect(),
        }
    }

    fn metrics(&self) -> &'static [SubgroupMetric] {
        use SubgroupMetric::{Accuracy, Auc, BalancedAccuracy, Brier, Sensitivity, Specificity};
        match self.classes {
            2 => &[Auc, Sensitivity, Specificity, Brier],
            _ => &[Accuracy, BalancedAccuracy, Brier],
        }
    }

    fn figure(&self, metric: SubgroupMetric, group: &[usize], rest: &[usize]) -> SubgroupFigure {
        let (value, of_rest) = (self.value(metric, group), self.value(metric, rest));
        let compared = match (value, of_rest) {
            _ if rest.is_empty() => Err(Untested::NoRest),
            (Some(value), Some(of_rest)) => self
                .strata(metric, group, rest)
                .map(|strata| self.compared(metric, &strata, (&value, &of_rest))),
            _ => Err(Untested::Undefined),
        };
        let (difference, test) = match compared {
            Ok((difference, test)) => (Some(difference), test),
            Err(reason) => (None, SubgroupTest::Untested(reason)),
        };
        SubgroupFigure {
            metric,
            value,
            rest: of_rest,
            difference,
            test,
        }
    }

    /// The metric over some images; `None` if it does not exist.
    fn value(&self, metric: SubgroupMetric, images: &[usize]) -> Option<Interval> {
        match metric {
            SubgroupMetric::Auc => {
                let (positive, scores, patients) = self.ranked(images);
                delong_auc(&positive, &scores, Some(&patients), self.level).ok()
            }
            SubgroupMetric::Brier => self.mean_brier(images),
            _ => {
                let strata = self.averaged(metric, images);
                let shares: Option<Vec<Interval>> =
                    strata.values().map(|own| self.share_right(own)).collect();
                comparison::mean(&shares?)
            }
        }
    }

    fn share_right(&self, images: &[usize]) -> Option<Interval> {
        let right: Vec<bool> = images.iter().map(|i| self.right[*i] > 0.0).collect();
        let patients = self.patients_of(images);
        proportion(&right, Some(&patients), self.level).ok()
    }

    /// Student's interval, with the empirical variance of the sums of patients; `None` with one patient.
    fn mean_brier(&self, images: &[usize]) -> Option<Interval> {
        let n = images.len() as f64;
        let mean = images.iter().map(|i| self.brier[*i]).sum::<f64>() / n;
        let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
        for i in images {
            *sums.entry(self.patients[*i]).or_default() += self.brier[*i] - mean;
        }
        if sums.len() < 2 {
            return None;
        }
        let g = sums.len() as f64;
        let squares: f64 = sums.values().map(|sum| sum * sum).sum();
        let error = (g / (g - 1.0) * squares).sqrt() / n;
        let half = t_quantile(self.level, sums.len() - 1) * error;
        let most = if self.classes == 2 { 1.0 } else { 2.0 };
        Some(Interval {
            estimate: mean,
            low: (mean - half).max(0.0),
            high: (mean + half).min(most),
            level: self.level,
            n: images.len(),
        })
    }

    /// The images over which the figure is averaged, by stratum.
    fn averaged(&self, metric: SubgroupMetric, images: &[usize]) -> BTreeMap<usize, Vec<usize>> {
        let stratum = |i: usize| match metric {
            SubgroupMetric::Auc | SubgroupMetric::BalancedAccuracy => Some(self.labels[i]),
            SubgroupMetric::Sensitivity => self.positive[i].then_some(0),
            SubgroupMetric::Specificity => (!self.positive[i]).then_some(0),
            SubgroupMetric::Accuracy | SubgroupMetric::Brier => Some(0),
        };
        let mut strata: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for i in images {
            if let Some(stratum) = stratum(*i) {
                strata.entry(stratum).or_default().push(*i);
            }
        }
        strata
    }

    fn strata(
        &self,
        metric: SubgroupMetric,
        group: &[usize],
        rest: &[usize],
    ) -> std::result::Result<Vec<Stratum>, Untested> {
        let [group, rest] = [group, rest].map(|images| self.averaged(metric, images));
        if !group.keys().eq(rest.keys()) {
            return Err(Untested::OtherClasses);
        }
        let pairs = group.into_values().zip(rest.into_values());
        Ok(pairs.map(|(group, rest)| Stratum { group, rest }).collect())
    }

    /// The difference and its test.
    fn compared(
        &self,
        metric: SubgroupMetric,
        strata: &[Stratum],
        (value, rest): (&Interval, &Interval),
    ) -> (Interval, SubgroupTest) {
        let (share, values) = self.averaged_values(metric, strata);
        let contributions = Contributions::new(strata, share, &values, &self.patients);
        let correlation = contributions.correlation();
        let difference = comparison::difference(value, rest, correlation);
        let enough = |images: &Vec<usize>| self.count_patients(images) >= LEAST_SUBGROUP_PATIENTS;
        if !strata.iter().all(|s| enough(&s.group) && enough(&s.rest)) {
            return (difference, SubgroupTest::Untested(Untested::TooFewPatients));
        }
        let common = |s| share * share * comparison::common_variance(s, &values, &self.patients);
        let common: f64 = strata.iter().map(common).sum();
        let mut variance = contributions.variance().max(common);
        if metric == SubgroupMetric::Auc {
            variance = variance.max(self.auc_difference_variance(strata, correlation));
        }
        // Without any variation there is nothing to standardize by.
        let p = match variance > 0.0 {
            true => two_sided_p(difference.estimate / variance.sqrt()),
            false => 1.0,
        };
        let test = DifferenceTest {
            p,
            adjusted_p: p,
            flagged: false,
        };
        (difference, SubgroupTest::Tested(test))
    }

    /// The weight of each stratum, and for each image the value whose mean over a stratum the metric averages.
    fn averaged_values(&self, metric: SubgroupMetric, strata: &[Stratum]) -> (f64, Cow<'_, [f64]>) {
        let share = 1.0 / strata.len() as f64;
        match metric {
            // Deviations of positives and of negatives add up, they are not averaged.
            SubgroupMetric::Auc => (1.0, self.placements(strata).into()),
            SubgroupMetric::Brier => (share, (&self.brier).into()),
            _ => (share, (&self.right).into()),
        }
    }

    /// The structural components of the AUC of all images of the strata together.
    fn placements(&self, strata: &[Stratum]) -> Vec<f64> {
        let sides = strata.iter().flat_map(|s| s.group.iter().chain(&s.rest));
        let images: Vec<usize> = sides.copied().collect();
        let (positive, scores, _) = self.ranked(&images);
        let mut values = vec![0.0; self.labels.len()];
        for (i, placement) in images.iter().zip(placements(&positive, &scores)) {
            values[*i] = placement;
        }
        values
    }

    /// Obuchowski's variance of the difference; 0 if it cannot be computed.
    fn auc_difference_variance(&self, strata: &[Stratum], correlation: f64) -> f64 {
        let variance = |of: fn(&Stratum) -> &Vec<usize>| {
            let images: Vec<usize> = strata.iter().flat_map(of).copied().collect();
            let (positive, scores, patients) = self.ranked(&images);
            auc_variance(&positive, &scores, Some(&patients)).map_or(0.0, |(_, variance)| variance)
        };
        let (group, rest) = (variance(|s| &s.group), variance(|s| &s.rest));
        group + rest - 2.0 * correlation * (group * rest).sqrt()
    }

    /// Whether each image is positive, its score and its patient.
    fn ranked(&self, images: &[usize]) -> (Vec<bool>, Vec<f64>, Vec<usize>) {
        (
            images.iter().map(|i| self.positive[*i]).collect(),
            images.iter().map(|i| self.scores[*i]).collect(),
            self.patients_of(images),
        )
    }

    fn patients_of(&self, images: &[usize]) -> Vec<usize> {
        images.iter().map(|i| self.patients[*i]).collect()
    }

    fn count_patients(&self, images: &[usize]) -> usize {
        let patients = images.iter().map(|i| self.patients[*i]);
        patients.collect::<BTreeSet<usize>>().len()
    }
}
