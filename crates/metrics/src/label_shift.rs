//! A test of the label-shift assumption: do only the class shares differ between validation and target data?
//!
//! Under label shift the target is a mixture of the validation data's class distributions with other shares, and every
//! function of the images is too; here the classifier's probabilities. The test estimates the shares by EM
//! ([`crate::adapt_prior`]), and compares the distribution of the scores on the target with the reweighted
//! distribution on the validation data by the Kolmogorov-Smirnov distance, the largest over classes. Testing for shift
//! through a classifier's outputs is the proposal of Lipton, Wang & Smola (2018) and Rabanser, Günnemann & Lipton
//! ("Failing loudly", 2019); they test for any shift, whereas here the shares may differ.
//!
//! **p-value.** The tables of Kolmogorov and Smirnov do not apply, because the shares are fitted to the same target data
//! and images of one patient are dependent. Instead both samples are redrawn from the fitted null hypothesis (a
//! parametric bootstrap, Efron & Tibshirani 1993) and the shares are fitted again to each, so that the fit, and an error
//! of the calibration, affect both sides of the comparison. The test is conservative: in simulations at a level of 95 % it
//! refuses about 2 % of targets that only differ in their shares, because the resamples vary the validation data but keep
//! the calibration that was fitted to the original ones.
//!
//! **Limits.** The test sees the scores only: a change of the images that leaves the scores' distributions as they are is
//! not found, nor is one that looks exactly like other shares. Not refusing the assumption does not prove it, above all
//! with few target examples.

use std::collections::BTreeMap;
use std::ops::Range;

use random::Rng;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Bootstrap;
use crate::check;
use crate::error::Result;
use crate::prior::{Densities, class_counts, inside};
use crate::probability::Probabilities;

/// The labelled data on which the probabilities are calibrated.
#[derive(Debug, Clone, Copy)]
pub struct ValidationSample<'a> {
    /// The class of each example.
    pub labels: &'a [usize],
    /// n × classes, row-major.
    pub probabilities: &'a [f64],
    /// One id per example, such as its patient; `None` if examples are independent.
    pub groups: Option<&'a [usize]>,
}

/// The data without labels whose class shares may differ.
#[derive(Debug, Clone, Copy)]
pub struct TargetSample<'a> {
    /// n × classes, row-major, from the same classifier and calibration.
    pub probabilities: &'a [f64],
    /// One id per example, such as its patient; `None` if examples are independent.
    pub groups: Option<&'a [usize]>,
}

/// Result of [`label_shift_test`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelShiftTest {
    /// The Kolmogorov-Smirnov distance between the scores on the target and on the reweighted validation data, the
    /// largest over classes: 0 to 1.
    pub distance: f64,
    /// Probability of at least this distance if only the class shares differ, with resamples and the data counted:
    /// `(1 + resamples at least as far) / (1 + resamples)`.
    pub p_value: f64,
    /// Number of resamples.
    pub resamples: usize,
    /// Confidence level of the test, such as 0.95.
    pub level: f64,
    /// Whether the data are compatible with label shift: `p_value ≥ 1 − level`.
    pub holds: bool,
}

/// Tests whether the target's probabilities can be explained by other class shares alone.
///
/// The score is the probability of each class; with two classes, that of class 1, whose log-odds have the same ranks.
/// In each resample, the validation data are drawn anew within each class, by whole groups. The target is drawn from the
/// validation data with the estimated shares, in groups of the same sizes as its own: a group consists of examples of
/// one class of one validation group, which repeat if there are too few. Without validation groups, the members of a
/// target group are thus copies, as if images of one patient always agreed, which makes the test conservative.
///
/// The source shares of the EM are those of the validation labels: probabilities calibrated on other shares are first
/// to be adapted to these by [`crate::reweighted`].
///
/// # Errors
/// Invalid probabilities ([`Probabilities::new`]), labels or groups that do not match them, fewer than two classes, a
/// class without validation examples, no resamples, or a level outside 0..1.
pub fn label_shift_test(
    classes: usize,
    validation: &ValidationSample<'_>,
    target: &TargetSample<'_>,
    bootstrap: &Bootstrap,
) -> Result<LabelShiftTest> {
    bootstrap.check()?;
    let data = Data::new(classes, validation, target)?;
    let (source, n) = (&data.source, data.labels.len());
    let (validation, target): (Vec<usize>, Vec<usize>) =
        data.densities.all().into_iter().partition(|i| *i < n);
    let densities = &data.densities;
    let prior = densities.fit(&target, source).prior;
    let distance = data.distance(&validation, &target, &prior);
    let start = inside(&prior, source);
    let as_far = (0..bootstrap.resamples as u64).filter(|resample| {
        let mut rng = bootstrap.stream(*resample);
        let validation = data.draw_validation(&mut rng);
        let target = data.draw_target(&mut rng, &prior);
        let refitted = densities.maximum(&target, &start);
        // Equal distances may differ by the order of the sums.
        data.distance(&validation, &target, &refitted) >= distance - 1e-12
    });
    let p_value = (1 + as_far.count()) as f64 / (1 + bootstrap.resamples) as f64;
    Ok(LabelShiftTest {
        distance,
        p_value,
        resamples: bootstrap.resamples,
        level: bootstrap.level,
        holds: p_value + bootstrap.level >= 1.0 - 1e-12,
    })
}

/// Validation examples, then target examples, in one numbering.
struct Data<'a> {
    labels: &'a [usize],
    source: Vec<f64>,
    densities: Densities,
    /// Each score's ranks over all examples.
    scores: Vec<Ranks>,
    /// The validation examples of each class.
    by_class: Vec<ClassMembers>,
    /// Number of examples of each group of the target.
    target_sizes: Vec<usize>,
}

impl<'a> Data<'a> {
    fn new(
        classes: usize,
        validation: &ValidationSample<'a>,
        target: &TargetSample<'_>,
    ) -> Result<Self> {
        if classes < 2 {
            return Err(check::setting("classes", classes, "at least 2"));
        }
        let n = Probabilities::new(classes, validation.probabilities)?.n();
        let target_n = Probabilities::new(classes, target.probabilities)?.n();
        let labels = validation.labels;
        check::same_length("labels", labels.len(), "validation probabilities", n)?;
        let counts = class_counts("a test of label shift", labels, classes)?;
        let source: Vec<f64> = counts
            .iter()
            .map(|count| *count as f64 / n as f64)
            .collect();
        let groups = ids("validation groups", validation.groups, n)?;
        let target_groups = ids("target groups", target.groups, target_n)?;
        let all = [validation.probabilities, target.probabilities].concat();
        let pooled = Probabilities::new(classes, &all)?;
        // With two classes, the second score is the first reversed.
        let scored = if classes == 2 { 1..2 } else { 0..classes };
        Ok(Self {
            labels,
            densities: Densities::new(&all, &source)?,
            source,
            scores: scored
                .map(|class| Ranks::new(&pooled.class(class)))
                .collect(),
            by_class: (0..classes)
                .map(|class| ClassMembers::new(class, labels, &groups))
                .collect(),
            target_sizes: sizes(&target_groups),
        })
    }

    /// The largest distance over the scores.
    fn distance(&self, validation: &[usize], target: &[usize], prior: &[f64]) -> f64 {
        let mut counts = vec![0.0; prior.len()];
        validation
            .iter()
            .for_each(|i| counts[self.labels[*i]] += 1.0);
        let weights: Vec<f64> = prior
            .iter()
            .zip(&counts)
            .map(|(share, n)| share / n)
            .collect();
        let of_target = -1.0 / target.len() as f64;
        let distances = self.scores.iter().map(|score| {
            let validation = validation.iter().map(|i| (*i, weights[self.labels[*i]]));
            score.distance(validation.chain(target.iter().map(|i| (*i, of_target))))
        });
        distances.fold(0.0, f64::max)
    }

    /// As many groups of each class as there are, with replacement.
    fn draw_validation(&self, rng: &mut Rng) -> Vec<usize> {
        let mut drawn = Vec::with_capacity(self.labels.len());
        for class in &self.by_class {
            for _ in 0..class.groups.len() {
                let group = class.groups[rng.below(class.groups.len())].clone();
                drawn.extend_from_slice(&class.members[group]);
            }
        }
        drawn
    }

    /// Groups of the target's sizes, each of a class drawn by `prior`.
    fn draw_target(&self, rng: &mut Rng, prior: &[f64]) -> Vec<usize> {
        let mut drawn = Vec::new();
        for size in &self.target_sizes {
            let class = &self.by_class[draw_class(rng, prior)];
            class.draw_group(rng, *size, &mut drawn);
        }
        drawn
    }
}

fn draw_class(rng: &mut Rng, prior: &[f64]) -> usize {
    let mut rest = rng.unit();
    let found = prior.iter().position(|share| {
        rest -= share;
        rest < 0.0
    });
    // The shares may sum to slightly less than 1.
    found.unwrap_or(prior.len() - 1)
}

/// The validation examples of one class, sorted by group.
struct ClassMembers {
    members: Vec<usize>,
    /// Each group's range in `members`.
    groups: Vec<Range<usize>>,
    /// The group of each of `members`, as an index into `groups`.
    group_of: Vec<usize>,
}

impl ClassMembers {
    fn new(class: usize, labels: &[usize], ids: &[usize]) -> Self {
        let mut members: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == class).collect();
        members.sort_by_key(|i| ids[*i]);
        let (mut groups, mut group_of) = (Vec::new(), Vec::new());
        for run in members.chunk_by(|a, b| ids[*a] == ids[*b]) {
            let start = group_of.len();
            group_of.resize(start + run.len(), groups.len());
            groups.push(start..start + run.len());
        }
        Self {
            members,
            groups,
            group_of,
        }
    }

    /// Appends `size` examples of one group, which is drawn by drawing one of its examples: each of the `size` examples
    /// then has the distribution of the class, whatever the sizes of the groups.
    fn draw_group(&self, rng: &mut Rng, size: usize, drawn: &mut Vec<usize>) {
        let first = rng.below(self.members.len());
        let group = self.groups[self.group_of[first]].clone();
        let at = |i: usize| self.members[group.start + (first - group.start + i) % group.len()];
        drawn.extend((0..size).map(at));
    }
}

/// The ranks of a score: equal scores have equal ranks.
struct Ranks {
    of: Vec<usize>,
    distinct: usize,
}

impl Ranks {
    fn new(scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let mut of = vec![0; scores.len()];
        let runs = order.chunk_by(|a, b| scores[*a] == scores[*b]);
        let mut distinct = 0;
        for run in runs {
            run.iter().for_each(|i| of[*i] = distinct);
            distinct += 1;
        }
        Self { of, distinct }
    }

    /// The largest absolute sum of the signed weights up to a rank.
    fn distance(&self, weighted: impl Iterator<Item = (usize, f64)>) -> f64 {
        let mut at_rank = vec![0.0; self.distinct];
        weighted.for_each(|(i, weight)| at_rank[self.of[i]] += weight);
        let (mut sum, mut largest) = (0.0, 0.0);
        for weight in at_rank {
            sum += weight;
            largest = f64::max(largest, sum.abs());
        }
        largest
    }
}

/// The ids of `groups`, or one of its own for each example.
fn ids(what: &'static str, groups: Option<&[usize]>, n: usize) -> Result<Vec<usize>> {
    let ids = groups.map_or_else(|| (0..n).collect(), <[usize]>::to_vec);
    check::same_length(what, ids.len(), "examples", n)?;
    Ok(ids)
}

/// Number of examples of each group.
fn sizes(ids: &[usize]) -> Vec<usize> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    ids.iter()
        .for_each(|id| *sizes.entry(*id).or_default() += 1);
    sizes.into_values().collect()
}
