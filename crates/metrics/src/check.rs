//! Input checks shared by all metrics, so that errors are worded consistently.

use crate::error::{MetricsError, Result};

/// Errors unless `len > 0`.
pub(crate) fn not_empty(what: &'static str, len: usize) -> Result<()> {
    if len == 0 {
        return Err(MetricsError::Empty { what });
    }
    Ok(())
}

/// Errors unless `len == expected`, the length required by `like`.
pub(crate) fn same_length(
    what: &'static str,
    len: usize,
    like: &'static str,
    expected: usize,
) -> Result<()> {
    if len != expected {
        return Err(MetricsError::LengthMismatch {
            what,
            len,
            like,
            expected,
        });
    }
    Ok(())
}

/// Errors unless every label is below `classes`.
pub(crate) fn labels_in_range(what: &'static str, labels: &[usize], classes: usize) -> Result<()> {
    match labels
        .iter()
        .enumerate()
        .find(|(_, label)| **label >= classes)
    {
        Some((index, &label)) => Err(MetricsError::LabelOutOfRange {
            what,
            index,
            label,
            classes,
        }),
        None => Ok(()),
    }
}

/// Errors unless every value is finite.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values
        .iter()
        .enumerate()
        .find(|(_, value)| !value.is_finite())
    {
        Some((index, &value)) => Err(MetricsError::NotFinite { what, index, value }),
        None => Ok(()),
    }
}

/// Errors unless every value is in 0..=1 (NaN is not).
pub(crate) fn probabilities(what: &'static str, values: &[f64]) -> Result<()> {
    match values
        .iter()
        .enumerate()
        .find(|(_, value)| !(0.0..=1.0).contains(*value))
    {
        Some((index, &value)) => Err(MetricsError::NotAProbability { what, index, value }),
        None => Ok(()),
    }
}

/// Errors unless `shares` are the shares of classes: at least one, each in 0..=1, with a sum of 1 (to 1e-3).
pub(crate) fn class_shares(what: &'static str, shares: &[f64]) -> Result<()> {
    not_empty(what, shares.len())?;
    probabilities(what, shares)?;
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() > 1e-3 {
        return Err(setting(what, sum, "one share per class, with a sum of 1"));
    }
    Ok(())
}

/// Errors unless labels and scores are non-empty and of equal length, and the scores are finite.
pub(crate) fn scored(labels: &[bool], scores: &[f64]) -> Result<()> {
    not_empty("labels", labels.len())?;
    same_length("scores", scores.len(), "labels", labels.len())?;
    finite("scores", scores)
}

/// Errors unless both classes occur among `labels`.
pub(crate) fn both_classes(metric: &'static str, labels: &[bool]) -> Result<()> {
    let (n, positives) = (labels.len(), count_true(labels));
    if positives == 0 || positives == n {
        return Err(MetricsError::SingleClass {
            metric,
            positives,
            n,
        });
    }
    Ok(())
}

/// Errors unless `0 < level < 1`.
pub(crate) fn level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(setting(
        "level",
        level,
        "a confidence level strictly between 0 and 1, such as 0.95",
    ))
}

/// Errors unless `0 < prevalence < 1`.
pub(crate) fn prevalence(prevalence: f64) -> Result<()> {
    if prevalence > 0.0 && prevalence < 1.0 {
        return Ok(());
    }
    Err(setting(
        "prevalence",
        prevalence,
        "a share strictly between 0 and 1",
    ))
}

/// Errors unless `1 <= value <= most`, so that a mistake in a settings file cannot cause a huge allocation.
pub(crate) fn count_in(
    name: &'static str,
    value: usize,
    most: usize,
    expected: &'static str,
) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(setting(name, value, expected))
}

/// The error for a setting outside its range.
pub(crate) fn setting(
    name: &'static str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> MetricsError {
    MetricsError::InvalidSetting {
        name,
        value: value.to_string(),
        expected,
    }
}

/// Number of entries that are `true`.
pub(crate) fn count_true(labels: &[bool]) -> usize {
    labels.iter().filter(|label| **label).count()
}

/// One class against the rest.
pub(crate) fn is_class(labels: &[usize], class: usize) -> Vec<bool> {
    labels.iter().map(|label| *label == class).collect()
}
