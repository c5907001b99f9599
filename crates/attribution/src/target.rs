//! What is explained: a class score, or the difference of two.

use metrics::softmax;

use crate::error::{AttributionError, Result};

/// A linear function of the network's class scores (`logits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The score of a class before softmax.
    Class(usize),
    /// The score of a class minus that of another: the log-odds between the two, on which a decision between them is
    /// based.
    Contrast {
        /// The class.
        class: usize,
        /// The class that it is compared with.
        against: usize,
    },
}

impl Target {
    /// The factor of each class score.
    ///
    /// # Errors
    /// A class that does not exist, or a contrast of a class with itself.
    pub fn weights(self, classes: usize) -> Result<Vec<f32>> {
        let mut weights = vec![0.0; classes];
        let mut set = |class: usize, factor: f32| match weights.get_mut(class) {
            Some(weight) => {
                *weight = factor;
                Ok(())
            }
            None => Err(AttributionError::NoClass { class, classes }),
        };
        match self {
            Target::Class(class) => set(class, 1.0)?,
            Target::Contrast { class, against } if class == against => {
                return Err(AttributionError::SameClass(class));
            }
            Target::Contrast { class, against } => {
                set(class, 1.0)?;
                set(against, -1.0)?;
            }
        }
        Ok(weights)
    }

    /// The probability of the class, or that of the class among the two; `scores` are those of all classes, of which
    /// the target's must be some.
    pub(crate) fn probability(self, scores: &[f32]) -> f64 {
        let score = |class: usize| f64::from(scores[class]);
        match self {
            Target::Class(class) => {
                let all: Vec<f64> = (0..scores.len()).map(score).collect();
                softmax(&all)[class]
            }
            Target::Contrast { class, against } => softmax(&[score(class), score(against)])[0],
        }
    }
}
