//! Otsu's threshold: a segmentation baseline that uses brightness alone.

/// Returns the last bin of the darker class when a histogram is split in two by Otsu's method ("A Threshold Selection
/// Method from Gray-Level Histograms", 1979): the split that maximizes the variance between the classes, and so
/// minimizes the variance within them. A pixel is bright if its bin is above the returned one.
///
/// Of equally good thresholds, such as those within a gap, it returns the first (as do scikit-image and OpenCV). `None`
/// if fewer than two bins are filled.
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
