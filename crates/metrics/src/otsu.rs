//! Otsu's threshold: the baseline of a segmentation that looks at brightness alone.

/// The last bin of the darker class when a histogram is cut in two so that the classes' means lie apart as far as they
/// can (Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979): the cut with the largest variance
/// between the classes, which is the one with the smallest variance within them. A pixel is bright if its bin is above.
///
/// Of cuts that are equally good, such as those within a gap, the first (scikit-image's and OpenCV's). `None` where
/// fewer than two bins are filled: there is nothing to part.
///
/// ```
/// assert_eq!(metrics::otsu_threshold(&[8, 9, 0, 0, 5, 6]), Some(1));
/// assert_eq!(metrics::otsu_threshold(&[0, 9, 0]), None);
/// ```
pub fn otsu_threshold(histogram: &[u64]) -> Option<usize> {
    let total: f64 = histogram.iter().map(|n| *n as f64).sum();
    let moment = |(bin, n): (usize, &u64)| bin as f64 * *n as f64;
    let sum: f64 = histogram.iter().enumerate().map(moment).sum();
    let (mut dark, mut dark_sum) = (0.0, 0.0);
    let mut best: Option<(usize, f64)> = None;
    for (bin, n) in histogram.iter().enumerate() {
        dark += *n as f64;
        dark_sum += moment((bin, n));
        let bright = total - dark;
        if dark == 0.0 || bright == 0.0 {
            continue;
        }
        let gap = dark_sum / dark - (sum - dark_sum) / bright;
        let between = dark * bright * gap * gap;
        if best.is_none_or(|(_, largest)| between > largest) {
            best = Some((bin, between));
        }
    }
    best.map(|(bin, _)| bin)
}
