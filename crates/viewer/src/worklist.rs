//! Which cases are listed, and in which order.

use std::cmp::Ordering;

use report::Outcome;

use crate::query::{Query, Show, Sort};
use crate::study::{Case, Study};

/// Cases on a page.
pub(crate) const PAGE: usize = 50;

/// Why a person should look at a case, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The probability is near the threshold, or no class has more than half.
    Undecided,
    /// The positive class is predicted.
    Positive,
    /// None of these.
    Other,
}

impl Study {
    /// The cases of a query, in order, as indices.
    pub(crate) fn listed(&self, query: &Query) -> Vec<usize> {
        let mut listed: Vec<usize> = (0..self.cases.len())
            .filter(|i| self.shows(&self.cases[*i], query) && matches(&self.cases[*i], query))
            .collect();
        // Stable, so that equal cases keep the order of the run's table.
        listed.sort_by(|a, b| self.order(&self.cases[*a], &self.cases[*b], query));
        listed
    }

    /// Number of cases that `show` would list with the query's threshold and search.
    pub(crate) fn count(&self, query: &Query, show: Show) -> usize {
        let query = query.showing(show);
        let cases = self.cases.iter();
        cases
            .filter(|case| self.shows(case, &query) && matches(case, &query))
            .count()
    }

    fn shows(&self, case: &Case, query: &Query) -> bool {
        let predicted = self.predicted(case, query);
        match query.show {
            Show::All => true,
            Show::Wrong => case.truth.is_some() && predicted.is_some() && case.truth != predicted,
            Show::Pair(truth, class) => case.truth == Some(truth) && predicted == Some(class),
        }
    }

    /// The predicted class at the threshold in use.
    pub(crate) fn predicted(&self, case: &Case, query: &Query) -> Option<usize> {
        let classes = self.classes.as_ref()?;
        classes.predicted(case, query.threshold)
    }

    /// Whether the prediction is right.
    pub(crate) fn outcome(&self, case: &Case, query: &Query) -> Option<Outcome> {
        let (classes, truth) = (self.classes.as_ref()?, case.truth?);
        let predicted = self.predicted(case, query)?;
        Some(match (truth == predicted, classes.negative()) {
            (true, _) => Outcome::Correct,
            (false, None) => Outcome::Wrong,
            (false, Some(_)) if predicted == classes.positive => Outcome::FalsePositive,
            (false, Some(_)) => Outcome::FalseNegative,
        })
    }

    /// Why a person should look at a case; `None` without class probabilities.
    pub(crate) fn need(&self, case: &Case, query: &Query) -> Option<Need> {
        let classes = self.classes.as_ref()?;
        let predicted = self.predicted(case, query)?;
        let leading = classes.leading(case);
        let undecided = match classes.threshold(query.threshold) {
            Some(threshold) => threshold.is_near(leading),
            None => leading <= 0.5,
        };
        Some(match (undecided, predicted == classes.positive) {
            (true, _) => Need::Undecided,
            (false, true) if classes.negative().is_some() => Need::Positive,
            _ => Need::Other,
        })
    }

    fn order(&self, a: &Case, b: &Case, query: &Query) -> Ordering {
        match query.sort {
            Sort::First => self.urgency(a, b, query),
            Sort::High => self.measure(b).total_cmp(&self.measure(a)),
            Sort::Low => self.measure(a).total_cmp(&self.measure(b)),
            Sort::Name => a.path.cmp(&b.path),
        }
    }

    /// Undecided cases, then positive ones, then the others, each by falling probability; of more than two classes the
    /// least certain; without classes those whose map agrees least with their mask.
    fn urgency(&self, a: &Case, b: &Case, query: &Query) -> Ordering {
        let Some(classes) = &self.classes else {
            return self.measure(a).total_cmp(&self.measure(b));
        };
        let need = self.need(a, query).cmp(&self.need(b, query));
        let leading = classes.leading(a).total_cmp(&classes.leading(b));
        need.then(match classes.negative() {
            Some(_) => leading.reverse(),
            None => leading,
        })
    }

    /// What cases are sorted by: the leading probability, or without classes the Dice coefficient.
    pub(crate) fn measure(&self, case: &Case) -> f64 {
        match &self.classes {
            Some(classes) => classes.leading(case),
            None => case.dice.unwrap_or(f64::NAN),
        }
    }
}

fn matches(case: &Case, query: &Query) -> bool {
    let search = query.search.to_lowercase();
    let found = |text: &str| text.to_lowercase().contains(&search);
    found(&case.path) || case.patient.as_deref().is_some_and(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{Classes, Images, Threshold};

    fn study(probabilities: &[(f64, usize)]) -> Study {
        let classes = Classes {
            names: vec!["no".into(), "yes".into()],
            positive: 1,
            threshold: Some(Threshold {
                probability: 0.5,
                interval: Some([0.4, 0.55]),
            }),
            sets: None,
        };
        let case = |(i, (p, truth)): (usize, &(f64, usize))| Case {
            path: format!("{i}.png"),
            patient: Some(format!("Patient {}", i / 2)),
            truth: Some(*truth),
            probabilities: vec![1.0 - p, *p],
            predicted: Some(usize::from(*p >= 0.5)),
            dice: None,
        };
        Study {
            title: "t".into(),
            folder: "r".into(),
            phantoms: false,
            classes: Some(classes),
            cases: probabilities.iter().enumerate().map(case).collect(),
            images: Images::none(),
        }
    }

    const CASES: [(f64, usize); 5] = [(0.1, 0), (0.99, 1), (0.45, 1), (0.52, 0), (0.7, 0)];

    #[test]
    fn undecided_cases_come_first_then_positive_ones() {
        let study = study(&CASES);
        assert_eq!(study.listed(&Query::default()), [3, 2, 1, 4, 0]);
        let sorted = |sort| {
            study.listed(&Query {
                sort,
                ..Query::default()
            })
        };
        assert_eq!(sorted(Sort::High), [1, 4, 3, 2, 0]);
        assert_eq!(sorted(Sort::Low), [0, 2, 3, 4, 1]);
        assert_eq!(sorted(Sort::Name), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_moved_threshold_changes_which_cases_are_wrong() {
        let study = study(&CASES);
        let wrong = |threshold| {
            let query = Query {
                threshold,
                show: Show::Wrong,
                sort: Sort::Name,
                ..Query::default()
            };
            study.listed(&query)
        };
        assert_eq!(wrong(None), [2, 3, 4]);
        assert_eq!(wrong(Some(0.45)), [3, 4]);
        assert_eq!(wrong(Some(0.75)), [2]);
        let at = Query {
            threshold: Some(0.75),
            ..Query::default()
        };
        assert_eq!(study.count(&at, Show::Pair(1, 0)), 1);
        assert_eq!(
            study.outcome(&study.cases[2], &at),
            Some(Outcome::FalseNegative)
        );
    }

    /// The counts beside the slider are those of the list.
    #[test]
    fn the_curve_counts_what_is_listed() {
        let study = study(&CASES);
        let thresholds = study.thresholds().unwrap();
        assert_eq!(thresholds.points[thresholds.chosen].threshold, 0.5);
        for point in &thresholds.points {
            let query = Query {
                threshold: Some(point.threshold),
                ..Query::default()
            };
            assert_eq!(
                study.count(&query, Show::Pair(1, 1)) as u64,
                point.true_positives
            );
            assert_eq!(
                study.count(&query, Show::Pair(0, 1)) as u64,
                point.false_positives
            );
        }
    }

    #[test]
    fn search_finds_paths_and_patients() {
        let study = study(&CASES);
        let found = |search: &str| {
            study.listed(&Query {
                search: search.into(),
                sort: Sort::Name,
                ..Query::default()
            })
        };
        assert_eq!(found("patient 1"), [2, 3]);
        assert_eq!(found("4.PNG"), [4]);
        assert!(found("x").is_empty());
    }
}
