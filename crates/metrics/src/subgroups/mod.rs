//! Figures by subgroup: does the classifier do worse for some patients than for the others?
//!
//! Images are grouped by one or several properties (sex, age band, finding, device). Each group gets its figures with
//! intervals by patient, and each figure is compared with that of **the rest**: the images of the same grouping that are
//! known to be in another group.
//!
//! **Test.** Patients are the units: the difference is divided by its standard deviation if group and rest do not differ,
//! and compared with the normal distribution. Two estimates of the variance are usual, and the larger one is used, because
//! each fails in small groups. The empirical one, of the score test of generalized estimating equations (Rotnitzky &
//! Jewell 1990), is far too small if all images of a small group happen to be right: in simulations at a share of 97 % it
//! found a third of groups of some twenty patients different at p < 0.05, though none was. The one with the variance and the
//! intraclass correlation of all images together
//! (Donner & Donald 1987) is too small if errors are rare and a small group happens to have some. Balanced accuracies are
//! compared in the same way with the classes as strata, and AUCs through their structural components (DeLong 1988) among
//! all images, with Obuchowski's variance (1997) as a third one. A patient with images in both groups counts in both, with
//! the covariance. All tests are conservative for groups of a few dozen patients.
//!
//! **Multiplicity.** A table with thirty comparisons has one with p < 0.05 even if nothing differs. The p-values of the
//! whole table are therefore adjusted by Holm's procedure (1979), and a figure is flagged if its adjusted p-value is
//! below 1 − level: with a probability of at least `level` nothing is flagged if nothing differs. The two groups of a grouping of two
//! are the rest of one another, so that their comparison counts once.
//!
//! **Limits.** A figure that is not flagged may differ all the same, above all in small groups: the interval of the
//! difference says by how much. A flag says nothing about the reason. Accuracy and Brier score depend on the shares of the
//! classes, and differ between groups with other shares even if each class is recognized equally well; the numbers of
//! images by class are given for this reason.

mod comparison;
mod images;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::evaluation::{EvaluationSettings, Predictions};
use crate::interval::Interval;

use images::Images;

/// Fewest patients that a figure needs, in the group and in the rest, to be tested; for an AUC or a balanced accuracy,
/// the fewest with images of each class.
pub const LEAST_SUBGROUP_PATIENTS: usize = 10;

/// A property by which images are grouped.
#[derive(Debug, Clone, Copy)]
pub struct Grouping<'a, S> {
    /// What the groups are, such as `sex`.
    pub name: &'a str,
    /// The group of each image, such as `F`; `None` if unknown.
    pub groups: &'a [Option<S>],
}

/// Figures by subgroup, with the tests of all groupings adjusted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupTable {
    /// Confidence level of the intervals and of the tests.
    pub level: f64,
    /// Number of comparisons for which the p-values are adjusted.
    pub comparisons: usize,
    /// In the order in which they were given.
    pub groupings: Vec<SubgroupGrouping>,
}

/// The groups of one property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupGrouping {
    /// What the groups are.
    pub name: String,
    /// Number of images whose group is unknown; they are in no figure of this grouping.
    pub unknown: usize,
    /// In the order of their names.
    pub groups: Vec<Subgroup>,
}

/// The figures of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subgroup {
    /// The group.
    pub name: String,
    /// Number of images.
    pub n: usize,
    /// Number of patients.
    pub patients: usize,
    /// Number of images of each class.
    pub by_class: Vec<usize>,
    /// With two classes AUC, sensitivity, specificity and Brier score; with more accuracy, balanced accuracy and Brier
    /// score.
    pub figures: Vec<SubgroupFigure>,
}

/// What is measured in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubgroupMetric {
    /// Area under the ROC curve of the positive class's log-odds, with Obuchowski's interval; needs two patients with
    /// images of each class.
    Auc,
    /// Share of the positive images that are predicted as positive.
    Sensitivity,
    /// Share of the negative images that are predicted as negative.
    Specificity,
    /// Share of the images that are predicted correctly.
    Accuracy,
    /// Mean over the classes that occur of the share of their images that is predicted correctly.
    BalancedAccuracy,
    /// Mean squared error of the probabilities, as [`crate::Evaluation::brier`], lower is better; with Student's
    /// interval by patient, for which it needs two patients.
    Brier,
}

/// One figure of a group, beside that of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SubgroupFigure {
    /// What is measured.
    pub metric: SubgroupMetric,
    /// Its value in the group; `None` if the group has no images for it.
    pub value: Option<Interval>,
    /// Its value in the rest.
    pub rest: Option<Interval>,
    /// The group's value minus that of the rest, with an interval that is not adjusted for other comparisons (Zou &
    /// Donner 2008; for shares of independent images this is Newcombe's with n − 1). `None` if either does not exist,
    /// or if the balanced accuracies are those of different classes.
    pub difference: Option<Interval>,
    /// Whether the two differ.
    pub test: SubgroupTest,
}

/// The test of one figure of a group against the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubgroupTest {
    /// Tested.
    Tested(DifferenceTest),
    /// Not tested, and why.
    Untested(Untested),
}

/// Result of a test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DifferenceTest {
    /// Two-sided p-value of the hypothesis that group and rest do not differ, on its own.
    pub p: f64,
    /// Adjusted for all comparisons of the table (Holm).
    pub adjusted_p: f64,
    /// Whether the adjusted p-value is below 1 − level.
    pub flagged: bool,
}

/// Why a figure is not tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Untested {
    /// All images with a known group are in this one.
    NoRest,
    /// The group or the rest has no images for the figure, such as none of the class.
    Undefined,
    /// The balanced accuracy of the rest has other classes.
    OtherClasses,
    /// Fewer than [`LEAST_SUBGROUP_PATIENTS`] in the group or in the rest.
    TooFewPatients,
}

/// A group's figure, with the names that a summary needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamedFigure<'a> {
    /// The grouping, such as `sex`.
    pub grouping: &'a str,
    /// The group, such as `F`.
    pub group: &'a str,
    /// Its figure.
    pub figure: &'a SubgroupFigure,
}

/// Computes the figures of each group of each grouping, and compares them with those of the rest.
///
/// Decisions are made as by [`crate::evaluate`] with the same settings; resamples, seed and bins are not used. Images
/// are independent if `predictions.groups`, the patients, are not given.
///
/// # Errors
/// As [`crate::evaluate`]; also without groupings, with two of the same name, or with one whose length is not the number
/// of images.
pub fn subgroups<C: AsRef<str>, S: AsRef<str>>(
    predictions: &Predictions<'_, C>,
    settings: &EvaluationSettings,
    groupings: &[Grouping<'_, S>],
) -> Result<SubgroupTable> {
    let images = Images::new(predictions, settings)?;
    check::not_empty("groupings", groupings.len())?;
    for (i, grouping) in groupings.iter().enumerate() {
        check::same_length(
            "groups of a grouping",
            grouping.groups.len(),
            "labels",
            predictions.labels.len(),
        )?;
        if groupings[..i]
            .iter()
            .any(|other| other.name == grouping.name)
        {
            let expected = "a name that no other grouping has";
            return Err(check::setting("grouping", grouping.name, expected));
        }
    }
    let mut table = SubgroupTable {
        level: settings.level,
        comparisons: 0,
        groupings: groupings.iter().map(|g| images.grouping(g)).collect(),
    };
    table.adjust();
    Ok(table)
}

impl SubgroupTable {
    /// The worst that a summary has to say. If a figure is flagged as worse than that of the rest, the one with the
    /// largest difference, Brier scores only if there is no other. Otherwise the lowest figure of a group that is large
    /// enough to be tested, other than a Brier score, which need not be lower than in the rest. `None` if no group is.
    pub fn worst(&self) -> Option<NamedFigure<'_>> {
        let flagged = |brier: bool| {
            let worse = self
                .flagged()
                .filter(|named| named.figure.deficit() > 0.0)
                .filter(|named| (named.figure.metric == SubgroupMetric::Brier) == brier);
            worse.max_by(|a, b| a.figure.deficit().total_cmp(&b.figure.deficit()))
        };
        flagged(false)
            .or_else(|| flagged(true))
            .or_else(|| self.lowest_of(|metric| metric != SubgroupMetric::Brier))
    }

    /// The lowest (for a Brier score, the highest) value of a figure among groups that are large enough to be tested.
    pub fn lowest(&self, metric: SubgroupMetric) -> Option<NamedFigure<'_>> {
        self.lowest_of(|own| own == metric)
    }

    /// The flagged figures, better or worse than those of the rest, in the order of the table.
    pub fn flagged(&self) -> impl Iterator<Item = NamedFigure<'_>> {
        self.all()
            .filter(|named| matches!(named.figure.test, SubgroupTest::Tested(test) if test.flagged))
    }

    fn all(&self) -> impl Iterator<Item = NamedFigure<'_>> {
        let groups = self.groupings.iter().flat_map(|grouping| {
            let groups = grouping.groups.iter();
            groups.map(|group| (grouping.name.as_str(), group))
        });
        groups.flat_map(|(grouping, group)| {
            group.figures.iter().map(move |figure| NamedFigure {
                grouping,
                group: &group.name,
                figure,
            })
        })
    }

    fn lowest_of(&self, wanted: impl Fn(SubgroupMetric) -> bool) -> Option<NamedFigure<'_>> {
        let tested = self
            .all()
            .filter(|named| wanted(named.figure.metric))
            .filter(|named| matches!(named.figure.test, SubgroupTest::Tested(_)));
        let value = |named: &NamedFigure<'_>| named.figure.goodness();
        tested.min_by(|a, b| value(a).total_cmp(&value(b)))
    }

    /// Adjusts the p-values of all comparisons, and flags.
    fn adjust(&mut self) {
        let distinct = self.groupings.iter_mut().flat_map(|grouping| {
            // Two groups are the rest of one another.
            let distinct = match grouping.groups.len() {
                2 => 1,
                n => n,
            };
            grouping.groups.iter_mut().take(distinct)
        });
        let mut tests: Vec<&mut DifferenceTest> = distinct
            .flat_map(|group| &mut group.figures)
            .filter_map(|figure| match &mut figure.test {
                SubgroupTest::Tested(test) => Some(test),
                SubgroupTest::Untested(_) => None,
            })
            .collect();
        let p: Vec<f64> = tests.iter().map(|test| test.p).collect();
        for (test, adjusted) in tests.iter_mut().zip(comparison::holm(&p)) {
            test.adjusted_p = adjusted;
            test.flagged = adjusted < 1.0 - self.level;
        }
        self.comparisons = p.len();
        for grouping in &mut self.groupings {
            if let [first, second] = &mut grouping.groups[..] {
                let pairs = second.figures.iter_mut().zip(&first.figures);
                pairs.for_each(|(second, first)| second.test = first.test);
            }
        }
    }
}

impl SubgroupFigure {
    /// How much worse than the rest; 0 if unknown.
    fn deficit(&self) -> f64 {
        let difference = self.difference.map_or(0.0, |d| d.estimate);
        match self.metric {
            SubgroupMetric::Brier => difference,
            _ => -difference,
        }
    }

    /// The value, higher if better.
    fn goodness(&self) -> f64 {
        let value = self.value.map_or(f64::INFINITY, |value| value.estimate);
        match self.metric {
            SubgroupMetric::Brier => -value,
            _ => value,
        }
    }
}
