//! What a reader needs to move the threshold along an ROC curve: the counts at each probability that an image has.

use report::{OperatingPoint, RocCurves, ThresholdCurve, Thresholds, format};

use super::Results;

/// Most thresholds and most points of a curve. Neighbours are then at most half a percent of an axis apart.
const MOST: usize = 400;

/// The curves of a figure with their thresholds; `None` unless there are two classes, both with images, and a threshold.
pub(super) fn thresholds(
    results: &Results<'_>,
    figure: &RocCurves,
    (path, alt): (&str, &str),
) -> Option<Thresholds> {
    let (used, binary) = (results.threshold?, results.evaluation.binary.as_ref()?);
    let (classes, positive) = (results.classes(), results.positive());
    let negative = classes
        .iter()
        .position(|class| *class != classes[positive])?;
    let counts = &binary.counts;
    let chosen = OperatingPoint {
        threshold: used,
        true_positives: counts.true_positives,
        false_positives: counts.false_positives,
    };
    let positives = counts.true_positives + counts.false_negatives;
    let negatives = counts.true_negatives + counts.false_positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let cases = results.probabilities.chunks(2).zip(results.labels);
    let cases: Vec<(f64, bool)> = cases
        .map(|(p, label)| (p[positive], *label == positive))
        .collect();
    let (points, index) = operating_points(cases, chosen);
    Some(Thresholds {
        path: path.into(),
        alt: alt.into(),
        positive: classes[positive].clone(),
        negative: classes[negative].clone(),
        positives,
        negatives,
        curves: figure.curves.iter().map(curve).collect(),
        points,
        chosen: index,
    })
}

fn curve(line: &report::RocLine) -> ThresholdCurve {
    let detail = match (line.auc, line.interval) {
        (Some(auc), Some(interval)) => format!("AUC {}", format::interval(auc, interval, 3)),
        (Some(auc), None) => format!("AUC {}", format::fixed(auc, 3)),
        (None, _) => String::new(),
    };
    ThresholdCurve {
        name: line.name.clone(),
        detail,
        points: thinned(&line.points),
    }
}

/// The thresholds that a reader can choose, in ascending order: probabilities that occur, evenly spaced where there are
/// many, and the threshold in use with its counts; and its index. `cases` have a probability of the positive class each,
/// and whether they are of it.
pub fn operating_points(
    cases: Vec<(f64, bool)>,
    used: OperatingPoint,
) -> (Vec<OperatingPoint>, usize) {
    with(thinned(&points(cases)), used)
}

/// The counts at every probability that occurs, in ascending order.
fn points(mut cases: Vec<(f64, bool)>) -> Vec<OperatingPoint> {
    cases.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found: Vec<OperatingPoint> = vec![];
    let (mut true_positives, mut false_positives) = (0, 0);
    for (threshold, positive) in cases {
        match positive {
            true => true_positives += 1,
            false => false_positives += 1,
        }
        // Of equal probabilities the last one counts them all.
        found.pop_if(|last| last.threshold == threshold);
        found.push(OperatingPoint {
            threshold,
            true_positives,
            false_positives,
        });
    }
    found.reverse();
    found
}

/// At most [`MOST`] of the items, evenly spaced, the first and the last among them.
fn thinned<T: Copy>(items: &[T]) -> Vec<T> {
    if items.len() <= MOST {
        return items.to_vec();
    }
    let last = items.len() - 1;
    (0..MOST).map(|i| items[i * last / (MOST - 1)]).collect()
}

/// The points with the one in use at its place, and its index.
fn with(mut points: Vec<OperatingPoint>, chosen: OperatingPoint) -> (Vec<OperatingPoint>, usize) {
    let index = points.partition_point(|p| p.threshold < chosen.threshold);
    match points.get_mut(index) {
        Some(same) if same.threshold == chosen.threshold => *same = chosen,
        _ => points.insert(index, chosen),
    }
    (points, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(threshold: f64, true_positives: u64, false_positives: u64) -> OperatingPoint {
        OperatingPoint {
            threshold,
            true_positives,
            false_positives,
        }
    }

    #[test]
    fn counts_are_those_of_all_images_from_a_probability_upwards() {
        let cases = vec![
            (0.2, false),
            (0.9, true),
            (0.5, false),
            (0.5, true),
            (0.7, true),
        ];
        let expected = [at(0.2, 3, 2), at(0.5, 3, 1), at(0.7, 2, 0), at(0.9, 1, 0)];
        assert_eq!(points(cases), expected);
    }

    #[test]
    fn the_threshold_in_use_is_one_of_the_points() {
        let points = vec![at(0.2, 3, 2), at(0.7, 2, 0)];
        let check = |chosen: OperatingPoint, index, len| {
            let (all, found) = with(points.clone(), chosen);
            assert_eq!((found, all.len(), all[index]), (index, len, chosen));
        };
        check(at(0.1, 3, 2), 0, 3);
        check(at(0.7, 2, 0), 1, 2);
        check(at(0.8, 0, 0), 2, 3);
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_ends() {
        let all: Vec<usize> = (0..10_000).collect();
        let few = thinned(&all);
        assert_eq!((few.len(), few[0], few[MOST - 1]), (MOST, 0, 9999));
        assert!(few.windows(2).all(|pair| pair[1] - pair[0] <= 26));
        assert_eq!(thinned(&all[..7]), all[..7]);
    }
}
