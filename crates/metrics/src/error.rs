//! Errors in the inputs of metrics.

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, MetricsError>;

/// Why a metric cannot be computed. Each message states what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Nothing to evaluate.
    #[error("`{what}` is empty: a metric needs at least one example")]
    Empty {
        /// The argument.
        what: &'static str,
    },
    /// Two arguments that belong together differ in length.
    #[error("`{what}` has {len} entries, but {expected} are expected (as required by `{like}`)")]
    LengthMismatch {
        /// The argument with the wrong length.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The argument that determines the length.
        like: &'static str,
        /// The length it should have.
        expected: usize,
    },
    /// A class index out of range.
    #[error(
        "`{what}[{index}]` is class {label}, but there are {classes} classes, numbered from 0: \
         check the order of the class names"
    )]
    LabelOutOfRange {
        /// The argument.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The class index found.
        label: usize,
        /// The number of classes.
        classes: usize,
    },
    /// NaN or infinity among the scores: the model has diverged, or a file is damaged.
    #[error("`{what}[{index}]` is {value}, not a finite number: check the model's outputs")]
    NotFinite {
        /// The argument.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A probability outside 0..=1.
    #[error(
        "`{what}[{index}]` is {value}, not a probability: apply softmax or sigmoid to logits first"
    )]
    NotAProbability {
        /// The argument.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A row of class probabilities that does not sum to one.
    #[error(
        "the probabilities of row {row} sum to {sum}, not 1: apply softmax over the classes first"
    )]
    RowSum {
        /// The example.
        row: usize,
        /// Its sum.
        sum: f64,
    },
    /// Ranking metrics compare positives with negatives and need both.
    #[error(
        "{metric} needs positives and negatives, but {positives} of {n} examples are positive: \
         use a split that has both classes"
    )]
    SingleClass {
        /// The requested metric.
        metric: &'static str,
        /// Number of positive examples.
        positives: usize,
        /// Number of examples.
        n: usize,
    },
    /// A class without examples, where a distribution of each class is needed.
    #[error(
        "{metric} needs labelled examples of every class, but class {class} has none: use a split that has all classes"
    )]
    AbsentClass {
        /// The requested metric.
        metric: &'static str,
        /// The class.
        class: usize,
    },
    /// An example that cannot occur under a new prior.
    #[error(
        "row {row} has a positive probability only for classes whose new share is 0: give these classes a positive share"
    )]
    ImpossibleRow {
        /// The example.
        row: usize,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}: it must be {expected}")]
    InvalidSetting {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The statistic is undefined on the data or on nearly every resample.
    #[error(
        "the bootstrapped statistic is undefined {place}: the data contain too few examples of some class"
    )]
    StatisticUndefined {
        /// Where it is undefined.
        place: &'static str,
    },
    /// A covariance that has no inverse.
    #[error(
        "the covariance {of} has no inverse: the examples do not vary, or there are too few; check that the features \
         are not constant and add examples"
    )]
    SingularCovariance {
        /// Which covariance.
        of: &'static str,
    },
    /// A mask whose shape is invalid.
    #[error(transparent)]
    Mask(#[from] morphology::MorphologyError),
}
