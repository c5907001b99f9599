//! Split conformal prediction: sets of classes that contain the true one with a promised probability, whatever the
//! network and the distribution of the images, as long as the calibration images are exchangeable with the later ones.
//!
//! A class is in the set of an example if its probability reaches the least that the class needs (Sadinle, Lei &
//! Wasserman 2019). That is a quantile over the calibration examples **of this class** (Mondrian; Vovk 2012): the promise
//! then holds for each class, also for a rare one, and if the shares of the classes differ later.
//!
//! It holds **by patient**. Images of a patient resemble each other, and many of one patient would count for many patients.
//! Each patient therefore has the same weight, divided among its examples, and the patient to come has the same weight at
//! infinity (Lee, Barber & Willett 2023). With one example per patient this is the usual quantile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::interval::Interval;
use crate::proportion::proportion;

/// What each class needs to be in a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConformalSets {
    /// The probability with which a set promises to contain the true class.
    pub coverage: f64,
    /// The least probability with which each class is in a set; 0 where the calibration has too few patients of the
    /// class to promise anything, so that the class is in all sets.
    pub least: Vec<f64>,
    /// Patients of each class in the calibration.
    pub patients: Vec<usize>,
}

/// How sets do on examples that they were not calibrated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetEvaluation {
    /// What was promised.
    pub promised: f64,
    /// Share of the examples whose set contains the true class.
    pub coverage: Interval,
    /// The same among the examples of each class; `None` for a class without examples.
    pub by_class: Vec<Option<Interval>>,
    /// Mean number of classes in a set.
    pub mean_size: f64,
    /// Number of sets of each size, from 0 to the number of classes.
    pub sizes: Vec<usize>,
    /// Share of the sets of one class that are right; `None` if there are none.
    pub singletons: Option<Interval>,
}

impl ConformalSets {
    /// Calibrates sets on examples that the network was not trained on: their true classes, their probabilities
    /// `[n, classes]`, and the patient of each (each example is its own without).
    ///
    /// # Errors
    /// No examples, different lengths, a label out of range, a value that is not a probability, or a coverage outside
    /// 0..1.
    pub fn calibrate(
        labels: &[usize],
        probabilities: &[f64],
        groups: Option<&[usize]>,
        coverage: f64,
    ) -> Result<Self> {
        let classes = classes(labels, probabilities, groups)?;
        check::level(coverage)?;
        let of_class = |class: usize| {
            let own = (0..labels.len()).filter(|i| labels[*i] == class);
            let scored = own.map(|i| {
                let group = groups.map_or(i, |groups| groups[i]);
                (probabilities[i * classes + class], group)
            });
            scored.collect::<Vec<(f64, usize)>>()
        };
        let scored: Vec<_> = (0..classes).map(of_class).collect();
        Ok(Self {
            coverage,
            least: scored.iter().map(|own| least(own, coverage)).collect(),
            patients: scored.iter().map(|own| sizes(own).len()).collect(),
        })
    }

    /// The classes in the set of an example with these probabilities, one per class.
    pub fn set(&self, probabilities: &[f64]) -> Vec<usize> {
        conformal_set(&self.least, probabilities)
    }

    /// Evaluates the sets of other examples, with intervals that respect their patients.
    ///
    /// # Errors
    /// As [`ConformalSets::calibrate`].
    pub fn evaluate(
        &self,
        labels: &[usize],
        probabilities: &[f64],
        groups: Option<&[usize]>,
        level: f64,
    ) -> Result<SetEvaluation> {
        let classes = classes(labels, probabilities, groups)?;
        check::same_length("least", self.least.len(), "classes", classes)?;
        let sets: Vec<Vec<usize>> = probabilities.chunks(classes).map(|p| self.set(p)).collect();
        let covered: Vec<bool> = sets
            .iter()
            .zip(labels)
            .map(|(set, l)| set.contains(l))
            .collect();
        let among = |keep: &dyn Fn(usize) -> bool| -> Result<Option<Interval>> {
            let rows: Vec<usize> = (0..labels.len()).filter(|i| keep(*i)).collect();
            if rows.is_empty() {
                return Ok(None);
            }
            let hits: Vec<bool> = rows.iter().map(|i| covered[*i]).collect();
            let own: Option<Vec<usize>> =
                groups.map(|groups| rows.iter().map(|i| groups[*i]).collect());
            proportion(&hits, own.as_deref(), level).map(Some)
        };
        let mut counts = vec![0; classes + 1];
        sets.iter().for_each(|set| counts[set.len()] += 1);
        let by_class = (0..classes).map(|class| among(&|i| labels[i] == class));
        Ok(SetEvaluation {
            promised: self.coverage,
            coverage: proportion(&covered, groups, level)?,
            by_class: by_class.collect::<Result<_>>()?,
            mean_size: sets.iter().map(Vec::len).sum::<usize>() as f64 / labels.len() as f64,
            sizes: counts,
            singletons: among(&|i| sets[i].len() == 1)?,
        })
    }
}

/// The classes whose probability is at least the one that each class needs to be in a set.
pub fn conformal_set(least: &[f64], probabilities: &[f64]) -> Vec<usize> {
    let reached = least.iter().zip(probabilities).enumerate();
    let reached = reached.filter(|(_, (least, p))| p >= least);
    reached.map(|(class, _)| class).collect()
}

/// The number of classes, if the input is consistent.
fn classes(labels: &[usize], probabilities: &[f64], groups: Option<&[usize]>) -> Result<usize> {
    check::not_empty("labels", labels.len())?;
    check::probabilities("probabilities", probabilities)?;
    let classes = probabilities.len() / labels.len();
    check::same_length(
        "probabilities",
        probabilities.len(),
        "labels",
        classes * labels.len(),
    )?;
    check::labels_in_range("labels", labels, classes)?;
    if let Some(groups) = groups {
        check::same_length("groups", groups.len(), "labels", labels.len())?;
    }
    Ok(classes)
}

/// Number of examples of each group.
fn sizes(scored: &[(f64, usize)]) -> BTreeMap<usize, usize> {
    let mut sizes = BTreeMap::new();
    scored
        .iter()
        .for_each(|(_, group)| *sizes.entry(*group).or_insert(0) += 1);
    sizes
}

/// The highest probability that examples of at least `coverage` of the weight reach, the weight of the group to come
/// included, which reaches none; 0 if that is not possible.
fn least(scored: &[(f64, usize)], coverage: f64) -> f64 {
    let sizes = sizes(scored);
    let groups = sizes.len() as f64 + 1.0;
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    // In units of the weight of a group; sums of thirds and the like must not miss a whole number by rounding.
    let needed = coverage * groups - 1e-9;
    let mut reached = 0.0;
    for (p, group) in &sorted {
        reached += 1.0 / sizes.get(group).copied().unwrap_or(1) as f64;
        if reached >= needed {
            return *p;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_patient_counts_once() {
        // Nine patients with one example each, and one with many poor ones, which would otherwise decide.
        let one = |i: usize| (0.5 + 0.05 * i as f64, i);
        let many = (0..100).map(|_| (0.1, 9));
        let scored: Vec<_> = (0..9).map(one).chain(many).collect();
        // 11 groups with the one to come: 80 % need 8.8, which the nine good ones have.
        assert_eq!(least(&scored, 0.8), 0.5);
        assert_eq!(least(&scored, 0.9), 0.1);
        // Ten of eleven are the most that can be promised.
        assert_eq!(least(&scored, 0.95), 0.0);
    }

    #[test]
    fn sets_have_the_classes_that_reach_what_they_need() {
        let sets = ConformalSets {
            coverage: 0.9,
            least: vec![0.3, 0.5, 0.0],
            patients: vec![100, 100, 3],
        };
        assert_eq!(sets.set(&[0.3, 0.49, 0.21]), [0, 2]);
        assert_eq!(sets.set(&[0.2, 0.3, 0.5]), [2]);
    }
}
