//! Folds of images that look as if they came from one source: clusters of exposure and size.

use random::Rng;

use crate::groups::linked_groups;
use crate::manifest::Manifest;

/// Measurements of a group of images.
const MEASURES: usize = 4;
/// Starts of the clustering, of which the tightest result counts.
const STARTS: u64 = 20;
/// Iterations of one start at most; it usually settles in about ten.
const ITERATIONS: usize = 100;

type Point = [f64; MEASURES];

/// Divides `pool` into `folds` clusters, the darkest first: k-means over the groups' mean brightness, contrast, width
/// and height (these two as logarithms), each standardized. A cluster may be empty if fewer groups than that differ.
pub(super) fn draw(
    manifest: &Manifest,
    pool: &[usize],
    folds: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let groups = linked_groups(manifest, pool);
    let mut points: Vec<Point> = groups
        .iter()
        .map(|group| measured(manifest, group))
        .collect();
    standardize(&mut points);
    let starts = (0..STARTS).map(|start| cluster(&points, folds, &mut Rng::keyed(seed, &[start])));
    // The first of equals.
    let best = starts.min_by(|a, b| a.spread.total_cmp(&b.spread));
    let Some(Clusters { of_point, .. }) = best else {
        return vec![Vec::new(); folds];
    };
    let mut parts = vec![Vec::new(); folds];
    for (group, cluster) in groups.into_iter().zip(of_point) {
        parts[cluster].extend(group);
    }
    let brightness = |part: &[usize]| {
        let sum: f64 = part.iter().map(|&row| manifest.rows()[row].mean).sum();
        sum / part.len().max(1) as f64
    };
    parts.sort_by(|a, b| brightness(a).total_cmp(&brightness(b)));
    parts
}

fn measured(manifest: &Manifest, group: &[usize]) -> Point {
    let mut sum = [0.0; MEASURES];
    for &row in group {
        let record = &manifest.rows()[row];
        let [width, height] = [record.width, record.height].map(|side| f64::from(side.max(1)).ln());
        let one = [record.mean, record.std, width, height];
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    }
    sum.map(|sum| sum / group.len().max(1) as f64)
}

/// To mean 0 and variance 1; what does not vary becomes 0.
fn standardize(points: &mut [Point]) {
    let n = points.len().max(1) as f64;
    for measure in 0..MEASURES {
        let mean = points.iter().map(|point| point[measure]).sum::<f64>() / n;
        let squares: f64 = points
            .iter()
            .map(|point| (point[measure] - mean).powi(2))
            .sum();
        let deviation = (squares / n).sqrt();
        // Sizes that are all equal differ by rounding only.
        let scale = if deviation > 1e-9 {
            1.0 / deviation
        } else {
            0.0
        };
        for point in points.iter_mut() {
            point[measure] = (point[measure] - mean) * scale;
        }
    }
}

struct Clusters {
    of_point: Vec<usize>,
    /// Sum of the squared distances to the cluster's centre.
    spread: f64,
}

/// Lloyd's algorithm from a k-means++ start.
fn cluster(points: &[Point], k: usize, rng: &mut Rng) -> Clusters {
    let mut centres = start(points, k, rng);
    let mut of_point = vec![usize::MAX; points.len()];
    for _ in 0..ITERATIONS {
        let now: Vec<usize> = points
            .iter()
            .map(|point| nearest(point, &centres).0)
            .collect();
        if now == of_point {
            break;
        }
        of_point = now;
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let members = points
                .iter()
                .zip(&of_point)
                .filter(|(_, of)| **of == cluster);
            let members: Vec<&Point> = members.map(|(point, _)| point).collect();
            if !members.is_empty() {
                *centre = std::array::from_fn(|i| {
                    members.iter().map(|point| point[i]).sum::<f64>() / members.len() as f64
                });
            }
        }
    }
    let spread = points.iter().map(|point| nearest(point, &centres).1).sum();
    Clusters { of_point, spread }
}

/// Centres far from each other: each next one is a point drawn with a probability proportional to its squared distance
/// from the nearest of the former.
fn start(points: &[Point], k: usize, rng: &mut Rng) -> Vec<Point> {
    let mut centres = vec![];
    if points.is_empty() {
        return centres;
    }
    centres.push(points[rng.below(points.len())]);
    while centres.len() < k {
        let distances: Vec<f64> = points
            .iter()
            .map(|point| nearest(point, &centres).1)
            .collect();
        let mut left = rng.unit() * distances.iter().sum::<f64>();
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        centres.push(points[drawn.unwrap_or(points.len() - 1)]);
    }
    centres
}

/// The nearest centre and the squared distance to it; the first of equals.
fn nearest(point: &Point, centres: &[Point]) -> (usize, f64) {
    let distance = |centre: &Point| -> f64 {
        let differences = point.iter().zip(centre);
        differences.map(|(a, b)| (a - b).powi(2)).sum()
    };
    let all = centres.iter().map(distance).enumerate();
    all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}
